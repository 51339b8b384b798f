// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import CMeshABI
import Glibc
import MeshLinux
import MeshPrograms
import Synchronization

// What belongs to a network namespace and serves all workloads in it: listeners and the sk_lookup program.
extension Steering {
    /// Names the sockets that take the inbound connections of a workload's namespace: one, or a group that shares the port
    /// (SO_REUSEPORT), over which the kernel spreads. Without one, inbound connections are refused. Native IPv6 connects
    /// of the namespace's workloads are captured when they are IPv6 sockets, and refused otherwise.
    package func setInboundListeners(_ key: UInt32, _ fds: [CInt]) throws(SteeringError) {
        try self.state.withLock { state throws(SteeringError) in
            guard let enrolled = state.enrolled[key] else {
                throw SteeringError(.unknownWorkload, "no workload is enrolled under key \(key)")
            }
            do throws(SystemError) {
                try self.setListeners(fds, slot: enrolled.slot, cookie: enrolled.cookie)
            } catch {
                throw SteeringError(.system, "workload \(enrolled.id), inbound listener: \(error)")
            }
        }
    }

    private func setListeners(_ fds: [CInt], slot: UInt32, cookie: UInt64) throws(SystemError) {
        guard let first = fds.first else { return try BPF.delete(map: self.maps[.listeners], key: slot) }
        for fd in fds where try Linux.namespaceCookie(ofSocket: fd) != cookie {
            throw SystemError(call: "a listener outside the workload's network namespace", errno: EINVAL)
        }
        // One member stands for its SO_REUSEPORT group.
        try BPF.update(map: self.maps[.listeners], key: slot, value: UInt64(UInt32(bitPattern: first)))
        let takesIPv6 = try Linux.isIPv6(socket: first)
        guard var namespace = try BPF.lookup(map: self.maps[.namespaces], key: cookie, empty: nm_namespace()) else {
            return
        }
        namespace.flags &= ~UInt32(NM_NAMESPACE_IPV6)
        if takesIPv6 { namespace.flags |= UInt32(NM_NAMESPACE_IPV6) }
        try BPF.update(map: self.maps[.namespaces], key: cookie, value: namespace)
    }

    /// Writes the namespace's record and puts the program there, once for all workloads that share it.
    func attachNamespace(_ enrolment: Enrolment, _ entry: Enrolled, state: borrowing State) throws {
        let others = state.enrolled.values.filter { $0.cookie == entry.cookie && $0.cgroup.id != entry.cgroup.id }
        let former = try BPF.lookup(map: self.maps[.namespaces], key: entry.cookie, empty: nm_namespace())
        var namespace = nm_namespace(
            slot: entry.slot, flags: (former?.flags ?? 0) & UInt32(NM_NAMESPACE_IPV6), workload: 0, pad: 0)
        if enrolment.isShared {
            namespace.flags |= UInt32(NM_NAMESPACE_SHARED)
        } else {
            namespace.workload = enrolment.key
        }
        if entry.excludesInbound || others.contains(where: \.excludesInbound) {
            namespace.flags |= UInt32(NM_NAMESPACE_EXCLUSIONS)
        }
        try BPF.update(map: self.maps[.namespaces], key: entry.cookie, value: namespace)
        if !enrolment.inboundListeners.isEmpty {
            try self.setListeners(enrolment.inboundListeners, slot: entry.slot, cookie: entry.cookie)
        }
        let pin = self.layout.namespace(entry.cookie)
        // Loading takes milliseconds: not for each of hundreds of workloads in the host's namespace.
        if !others.isEmpty, try self.isInboundAttached(entry) { return }
        let program = try self.program(.inbound, self.inboundConfig(entry.cookie, isShared: enrolment.isShared))
        let inode = UInt32(truncatingIfNeeded: enrolment.namespace.inode)
        try Self.attach(program, to: enrolment.namespace.raw, type: BPF_SK_LOOKUP, pin: pin) {
            $0.netns.netns_ino == inode
        }
    }

    /// Takes the program out of a namespace unless another workload needs it.
    func leaveNamespace(_ record: nm_enrolment) throws(SystemError) {
        if try self.records().contains(where: { $0.record.netns == record.netns }) { return }
        try BPF.removeLinks(self.layout.namespace(record.netns))
        for isShared in [false, true] {
            self.pins.remove(.inbound, self.inboundConfig(record.netns, isShared: isShared))
        }
        try BPF.delete(map: self.maps[.listeners], key: record.slot)
        try self.clearResolvers(slot: record.slot)
        try BPF.delete(map: self.maps[.namespaces], key: record.netns)
    }
}
