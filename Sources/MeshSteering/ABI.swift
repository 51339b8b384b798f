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

extension nm_exclusion_key {
    init(_ prefix: IPPrefix, workload: UInt32) {
        self.init()
        self.length = 32 + UInt32(prefix.mappedLength)
        self.workload = workload
        self.ip = prefix.address.words
    }
}

extension IPPrefix {
    /// As ``init(_:family:)-(nm_prefix_key,_)``, of an exclusion.
    init?(_ key: nm_exclusion_key, family: UInt32) {
        guard key.length >= 32 else { return nil }
        self.init(nm_prefix_key(length: key.length - 32, ip: key.ip), family: family)
    }
}

extension nm_workload {
    init(_ enrolment: Enrolment, slot: UInt32, netns: UInt64) {
        // Link-local addresses are never captured anyway.
        let addresses = enrolment.addresses.filter { !$0.isLinkLocal }
        self.init()
        self.netns = netns
        self.key = enrolment.key
        self.flags = UInt32(NM_WORKLOAD_ACTIVE)
        if enrolment.isShared { self.flags |= UInt32(NM_WORKLOAD_SHARED) }
        if enrolment.hasOutboundExclusions { self.flags |= UInt32(NM_WORKLOAD_EXCLUSIONS) }
        if enrolment.isGuarded { self.flags |= UInt32(NM_WORKLOAD_GUARDED) }
        if enrolment.isAccelerated { self.flags |= UInt32(NM_WORKLOAD_ACCELERATED) }
        if enrolment.hasNamesAnswered { self.flags |= UInt32(NM_WORKLOAD_DNS) }
        if enrolment.answersOriginalDestination { self.flags |= UInt32(NM_WORKLOAD_ORIGINAL) }
        self.slot = slot
        self.source4 = addresses.first { $0.isIPv4 }?.words.3 ?? 0
        self.source6 = addresses.first { !$0.isIPv4 }?.words ?? (0, 0, 0, 0)
        self.own_count = UInt32(min(addresses.count, Int(NM_OWN_ADDRESSES)))
        withUnsafeMutableBytes(of: &self.own) { bytes in
            for (index, address) in addresses.prefix(Int(NM_OWN_ADDRESSES)).enumerated() {
                bytes.storeBytes(of: address.words, toByteOffset: index * 16, as: AddressWords.self)
            }
        }
    }

    var failsOpen: Bool {
        get { self.flags & UInt32(NM_WORKLOAD_FAIL_OPEN) != 0 }
        set {
            if newValue {
                self.flags |= UInt32(NM_WORKLOAD_FAIL_OPEN)
            } else {
                self.flags &= ~UInt32(NM_WORKLOAD_FAIL_OPEN)
            }
        }
    }
}

extension IPAddress {
    /// 169.254.0.0/16 (RFC 3927) or fe80::/10 (RFC 4291 2.5.6).
    var isLinkLocal: Bool {
        if let value = self.ipv4 { return value >> 16 == 0xa9fe }
        return self.high >> 54 == 0xfe80 >> 6
    }
}
