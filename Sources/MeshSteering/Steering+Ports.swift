// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import Glibc
import MeshLinux
import Synchronization

// Who listens where in shared namespaces. The programs note what begins and ceases to listen; nodemeshd adds what listened
// before, and takes away what is gone.
extension Steering {
    /// The owners of ports in a namespace, by port. Key 0 means that the port did not fit in the map: whoever dials it is
    /// refused until ``setPort(_:of:_:)`` succeeds or ``removePort(_:of:)`` gives it up.
    package func ports(_ netnsCookie: UInt64) throws(SteeringError) -> [UInt16: UInt32] {
        do throws(SystemError) {
            var ports = Dictionary(uniqueKeysWithValues: try self.lostPorts().map { ($0, UInt32(0)) })
            for (port, value) in try self.portEntries(netnsCookie) { ports[port] = value.workload }
            return ports
        } catch {
            throw SteeringError(.system, "ports: \(error)")
        }
    }

    /// Data plane: the ``Enrolment/key`` of the workload that listens on a port of a shared namespace; nil: none does.
    package func portOwner(_ netnsCookie: UInt64, _ port: UInt16) -> UInt32? {
        let key = nm_port_key(netns: netnsCookie, port: port, pad: 0, pad2: 0)
        guard let found = try? BPF.lookup(map: self.maps[.ports], key: key, empty: nm_port()) else { return nil }
        return found.workload == 0 ? nil : found.workload
    }

    /// Makes a workload the owner of a port on which one of its sockets was found listening.
    package func setPort(_ port: UInt16, of netnsCookie: UInt64, _ key: UInt32) throws(SteeringError) {
        try self.changePort(port) { isOnly throws(SystemError) in
            let map = self.maps[.ports]
            let portKey = nm_port_key(netns: netnsCookie, port: port, pad: 0, pad2: 0)
            let known = try BPF.lookup(map: map, key: portKey, empty: nm_port())
            let seen = known?.workload == key ? known?.listeners ?? 0 : 0
            do throws(SystemError) {
                try BPF.update(
                    map: map, key: portKey, value: nm_port(workload: key, listeners: seen | UInt32(NM_PORT_FOUND)))
            } catch {
                // Closed rather than unsteered.
                try self.setLost(port, true)
                throw error
            }
            if isOnly { try self.setLost(port, false) }
        }
    }

    /// Gives up a port on which no enrolled workload listens any more.
    package func removePort(_ port: UInt16, of netnsCookie: UInt64) throws(SteeringError) {
        try self.changePort(port) { isOnly throws(SystemError) in
            try BPF.delete(
                map: self.maps[.ports], key: nm_port_key(netns: netnsCookie, port: port, pad: 0, pad2: 0))
            if isOnly { try self.setLost(port, false) }
        }
    }

    /// - Parameter body: learns whether there is no second shared namespace, of which nm_lost_ports might tell.
    private func changePort(
        _ port: UInt16, _ body: (_ isOnly: Bool) throws(SystemError) -> Void
    ) throws(SteeringError) {
        // The lock keeps two changes of one word of nm_lost_ports apart.
        try self.state.withLock { state throws(SteeringError) in
            let namespaces = Set(state.enrolled.values.filter(\.isShared).map(\.cookie))
            do throws(SystemError) {
                try body(namespaces.count <= 1)
            } catch {
                throw SteeringError(
                    error.errno == E2BIG ? .capacity : .system,
                    "port \(port): \(error); raise the capacity for ports if the map is full")
            }
        }
    }

    func portEntries(_ cookie: UInt64) throws(SystemError) -> [(port: UInt16, value: nm_port)] {
        var entries: [(port: UInt16, value: nm_port)] = []
        for key in try BPF.keys(map: self.maps[.ports], empty: nm_port_key()) where key.netns == cookie {
            if let value = try BPF.lookup(map: self.maps[.ports], key: key, empty: nm_port()) {
                entries.append((key.port, value))
            }
        }
        return entries
    }

    func forgetPorts(of record: nm_enrolment) throws(SystemError) {
        for (port, value) in try self.portEntries(record.netns) where value.workload == record.key {
            try BPF.delete(
                map: self.maps[.ports], key: nm_port_key(netns: record.netns, port: port, pad: 0, pad2: 0))
        }
    }

    private func lostPorts() throws(SystemError) -> [UInt16] {
        var ports: [UInt16] = []
        for word in 0..<UInt32(NM_LOST_PORT_WORDS) {
            let bits = try BPF.lookup(map: self.maps[.lostPorts], key: word, empty: UInt64(0)) ?? 0
            if bits == 0 { continue }
            for bit in 0..<UInt32(64) where bits >> UInt64(bit) & 1 == 1 { ports.append(UInt16(word * 64 + bit)) }
        }
        return ports
    }

    private func setLost(_ port: UInt16, _ isLost: Bool) throws(SystemError) {
        let (word, bit) = (UInt32(port / 64), UInt64(1) << UInt64(port % 64))
        let bits = try BPF.lookup(map: self.maps[.lostPorts], key: word, empty: UInt64(0)) ?? 0
        let wanted = isLost ? bits | bit : bits & ~bit
        if wanted != bits { try BPF.update(map: self.maps[.lostPorts], key: word, value: wanted) }
    }
}
