// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshModel

// Between the model's values and the structs of nodemesh_abi.h.

/// Four 32-bit words in network order.
typealias AddressWords = (UInt32, UInt32, UInt32, UInt32)

extension IPAddress {
    var words: AddressWords {
        (
            UInt32(truncatingIfNeeded: self.high >> 32).bigEndian, UInt32(truncatingIfNeeded: self.high).bigEndian,
            UInt32(truncatingIfNeeded: self.low >> 32).bigEndian, UInt32(truncatingIfNeeded: self.low).bigEndian
        )
    }

    init(words: AddressWords) {
        self.init(
            high: UInt64(UInt32(bigEndian: words.0)) << 32 | UInt64(UInt32(bigEndian: words.1)),
            low: UInt64(UInt32(bigEndian: words.2)) << 32 | UInt64(UInt32(bigEndian: words.3)))
    }
}

extension nm_endpoint {
    init(_ address: SocketAddress) {
        self.init()
        self.ip = address.ip.words
        self.port = address.port
    }

    var socketAddress: SocketAddress { SocketAddress(ip: IPAddress(words: self.ip), port: self.port) }
}

extension nm_prefix_key {
    init(_ prefix: IPPrefix) {
        self.init()
        self.length = UInt32(prefix.mappedLength)
        self.ip = prefix.address.words
    }
}

extension IPPrefix {
    /// `family` is the map's value, see `NM_FAMILY_IPV4`. Nil for what nodemeshd never writes.
    init?(_ key: nm_prefix_key, family: UInt32) {
        let address = IPAddress(words: key.ip)
        guard address.isIPv4 == (family == UInt32(NM_FAMILY_IPV4)) else { return nil }
        self.init(address: address, length: address.isIPv4 ? Int(key.length) - 96 : Int(key.length))
    }

    var family: UInt32 { UInt32(self.address.isIPv4 ? NM_FAMILY_IPV4 : NM_FAMILY_IPV6) }
}

extension nm_workload {
    init(_ enrolment: Enrolment, slot: UInt32, netns: UInt64) {
        self.init()
        self.netns = netns
        self.key = enrolment.key
        self.flags = UInt32(NM_WORKLOAD_ACTIVE)
        self.slot = slot
        self.source4 = enrolment.addresses.first { $0.isIPv4 }?.words.3 ?? 0
        self.source6 = enrolment.addresses.first { !$0.isIPv4 }?.words ?? (0, 0, 0, 0)
        self.own_count = UInt32(enrolment.addresses.count)
        withUnsafeMutableBytes(of: &self.own) { bytes in
            for (index, address) in enrolment.addresses.enumerated() {
                bytes.storeBytes(of: address.words, toByteOffset: index * 16, as: AddressWords.self)
            }
        }
    }
}
