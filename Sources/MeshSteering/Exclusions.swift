// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshLinux
import MeshModel

/// What is left alone, of one workload or of all.
struct Exclusions: Sendable, Equatable {
    var prefixes: Set<IPPrefix> = []
    var outboundPorts: Set<UInt16> = []
    var inboundPorts: Set<UInt16> = []

    var isEmpty: Bool { self == Exclusions() }

    /// Makes these the exclusions of `workload` (0: of all). Reads what is there, so it also replaces an earlier run's.
    func write(of workload: UInt32, to maps: SteeringMaps) throws(SystemError) {
        try self.writePrefixes(of: workload, to: maps[.excludedPrefixes])
        var ports: Set<ExcludedPort> = []
        for port in self.outboundPorts { ports.insert(ExcludedPort(port: port, direction: UInt16(NM_OUTBOUND))) }
        for port in self.inboundPorts { ports.insert(ExcludedPort(port: port, direction: UInt16(NM_INBOUND))) }
        let map = maps[.excludedPorts]
        let old = Set(
            try BPF.keys(map: map, empty: nm_excluded_port()).filter { $0.workload == workload }
                .map { ExcludedPort(port: $0.port, direction: $0.direction) })
        for port in old.subtracting(ports) { try BPF.delete(map: map, key: port.key(workload)) }
        for port in ports.subtracting(old) { try BPF.update(map: map, key: port.key(workload), value: UInt32(1)) }
    }

    private func writePrefixes(of workload: UInt32, to map: CInt) throws(SystemError) {
        var old: Set<IPPrefix> = []
        for key in try BPF.keys(map: map, empty: nm_exclusion_key()) where key.workload == workload {
            let family = try BPF.lookup(map: map, key: key, empty: UInt32(0))
            if let family, let prefix = IPPrefix(key, family: family) { old.insert(prefix) }
        }
        for prefix in old.subtracting(self.prefixes) {
            try BPF.delete(map: map, key: nm_exclusion_key(prefix, workload: workload))
        }
        for prefix in self.prefixes.subtracting(old) {
            try BPF.update(map: map, key: nm_exclusion_key(prefix, workload: workload), value: prefix.family)
        }
    }

    private struct ExcludedPort: Hashable {
        let port: UInt16
        let direction: UInt16

        func key(_ workload: UInt32) -> nm_excluded_port {
            nm_excluded_port(workload: workload, port: self.port, direction: self.direction)
        }
    }
}
