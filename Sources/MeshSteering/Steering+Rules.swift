// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import Glibc
import MeshLinux
import MeshModel
import Synchronization

// What holds for the whole node and changes while it runs.
extension Steering {
    /// Makes these the exclusions of all workloads, next to their own. The first to exclude and the last to capture again
    /// take effect at once, for connections that begin later.
    package func setExclusions(
        prefixes: [IPPrefix], outboundPorts: [UInt16], inboundPorts: [UInt16]
    ) throws(SteeringError) {
        let exclusions = Exclusions(
            prefixes: Set(prefixes), outboundPorts: Set(outboundPorts), inboundPorts: Set(inboundPorts))
        try self.state.withLock { state throws(SteeringError) in
            do throws(SystemError) {
                try exclusions.write(of: 0, to: self.maps)
                try self.changeSettings(&state) { settings in
                    settings.flags &= ~UInt32(NM_SETTING_EXCLUSIONS)
                    if !exclusions.isEmpty { settings.flags |= UInt32(NM_SETTING_EXCLUSIONS) }
                }
            } catch {
                throw SteeringError(
                    error.errno == ENOSPC || error.errno == E2BIG ? .capacity : .system,
                    "exclusions: \(error); raise the capacity for exclusions if the map is full")
            }
        }
    }

    /// What happens to captured traffic of workloads without a mode of their own while no proxy listens.
    package func setFailMode(_ mode: SteeringConfiguration.FailMode) throws(SteeringError) {
        try self.state.withLock { state throws(SteeringError) in
            do throws(SystemError) {
                for (key, entry) in state.enrolled where entry.failMode == nil {
                    try self.setFailsOpen(mode == .open, key: key)
                    guard
                        var workload = try BPF.lookup(
                            map: self.maps[.workloads], key: entry.cgroup.id, empty: nm_workload())
                    else { continue }
                    workload.failsOpen = mode == .open
                    try BPF.update(map: self.maps[.workloads], key: entry.cgroup.id, value: workload)
                }
                state.failMode = mode
            } catch {
                throw SteeringError(.system, "fail mode: \(error)")
            }
        }
    }

    func setFailsOpen(_ isOpen: Bool, key: UInt32) throws(SystemError) {
        if isOpen {
            try BPF.update(map: self.maps[.failOpen], key: key, value: UInt32(1))
        } else {
            try BPF.delete(map: self.maps[.failOpen], key: key)
        }
    }
}
