// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// A pair of virtual Ethernet interfaces, one end in a workload's network namespace and the other in the caller's.
package struct VethPair: Hashable, Sendable {
    /// Index of the end in the calling thread's namespace.
    package let host: UInt32
    /// Hardware addresses, six bytes each.
    package let hostMAC: [UInt8]
    package let insideMAC: [UInt8]

    /// The pair that carries an address inside a namespace.
    ///
    /// - Parameter address: four or sixteen bytes in network order.
    /// - Returns: nil unless it is a veth whose other end is in the calling thread's own namespace.
    package static func carrying(address: [UInt8], in namespace: NetworkNamespace) -> VethPair? {
        let inside = try? namespace.run { () throws(SystemError) -> Link? in
            guard let entry = try InterfaceAddress.all().first(where: { $0.bytes == address }) else { return nil }
            return Self.link(nm_link_index(entry.interface))
        }
        // Indexes count in their own namespace: the host's end has to name this one in turn.
        guard let inside, inside.isVeth, let host = Self.link(inside.peer), host.isVeth,
            host.peer == inside.index
        else { return nil }
        return VethPair(host: host.index, hostMAC: host.mac, insideMAC: inside.mac)
    }

    /// The interfaces of the calling thread's namespace.
    package static func indexes() -> [UInt32] {
        guard let list = if_nameindex() else { return [] }
        defer { if_freenameindex(list) }
        var (found, next) = ([UInt32](), list)
        while next.pointee.if_index != 0 {
            found.append(next.pointee.if_index)
            next += 1
        }
        return found
    }

    private struct Link: Sendable {
        var index: UInt32
        var peer: UInt32
        var mac: [UInt8]
        var isVeth: Bool
    }

    private static func link(_ index: UInt32) -> Link? {
        var raw = nm_link()
        guard index != 0, nm_link_read(index, &raw) == 0 else { return nil }
        return Link(
            index: raw.index, peer: raw.peer, mac: withUnsafeBytes(of: raw.mac) { Array($0) }, isVeth: raw.is_veth != 0)
    }
}
