// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import CMeshABI
import Glibc
import MeshLinux
import MeshModel
import Synchronization

// Queries of workloads, which nodemeshd answers inside their namespaces.
extension Steering {
    /// The ports at which nodemeshd has to answer on loopback, UDP at each, TCP at the first: one socket of an application
    /// may ask as many resolvers and hear from each in its own name.
    package var resolverPorts: [UInt16] { (0..<UInt16(NM_RESOLVERS)).map { self.configuration.dnsPort + $0 } }

    /// Says where names are answered in a workload's namespace, for all workloads there that want it: by the TCP listeners
    /// of each family, which must end when the answering does. A family without one asks its resolvers as if nodemesh were
    /// not there, and so do both when the listeners close.
    package func setResolvers(_ key: UInt32, ipv4: CInt?, ipv6: CInt?) throws(SteeringError) {
        try self.state.withLock { state throws(SteeringError) in
            guard let enrolled = state.enrolled[key] else {
                throw SteeringError(.unknownWorkload, "no workload is enrolled under key \(key)")
            }
            do throws(SystemError) {
                for (fd, isIPv4) in [(ipv4, true), (ipv6, false)] {
                    let index = Self.resolverIndex(enrolled.slot, isIPv4: isIPv4)
                    guard let fd else {
                        try BPF.delete(map: self.maps[.resolvers], key: index)
                        continue
                    }
                    guard try Linux.namespaceCookie(ofSocket: fd) == enrolled.cookie else {
                        throw SystemError(call: "a resolver outside the workload's network namespace", errno: EINVAL)
                    }
                    try BPF.update(map: self.maps[.resolvers], key: index, value: UInt64(UInt32(bitPattern: fd)))
                }
            } catch {
                throw SteeringError(.system, "workload \(enrolled.id), resolver: \(error)")
            }
        }
    }

    /// Whom a datagram was meant for that arrived at one of ``resolverPorts``, and which workload sent it; nil when that is
    /// not known: nobody enrolled sent it, or too many have asked since. Takes no lock and makes one system call.
    ///
    /// - Parameters:
    ///   - cookie: of the namespace it arrived in.
    ///   - port: its source port.
    ///   - place: the index of the port it arrived at in ``resolverPorts``.
    package func asked(in cookie: UInt64, port: UInt16, place: Int, isIPv4: Bool) -> OriginalDestination? {
        var key = nm_query_key()
        key.netns = cookie
        key.port = port
        key.place = UInt16(truncatingIfNeeded: place)
        key.family = UInt32(isIPv4 ? NM_FAMILY_IPV4 : NM_FAMILY_IPV6)
        guard let value = try? BPF.lookup(map: self.maps[.queries], key: key, empty: nm_flow_value()) else {
            return nil
        }
        return OriginalDestination(address: value.address.socketAddress, workloadKey: value.workload)
    }

    func clearResolvers(slot: UInt32) throws(SystemError) {
        for isIPv4 in [true, false] {
            try BPF.delete(map: self.maps[.resolvers], key: Self.resolverIndex(slot, isIPv4: isIPv4))
        }
    }

    /// In how many families names are answered in the namespace of this slot.
    func resolverCount(slot: UInt32) -> Int {
        [true, false].count { isIPv4 in
            let index = Self.resolverIndex(slot, isIPv4: isIPv4)
            let socket = try? BPF.lookup(map: self.maps[.resolvers], key: index, empty: UInt64(0))
            return socket.flatMap(\.self) != nil
        }
    }

    /// `NM_RESOLVER_INDEX`.
    private static func resolverIndex(_ slot: UInt32, isIPv4: Bool) -> UInt32 { slot * 2 + (isIPv4 ? 0 : 1) }
}
