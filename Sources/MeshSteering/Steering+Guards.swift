// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import CMeshABI
import Glibc
import MeshLinux
import Synchronization

// Programs on cgroups that are no workloads: the parents of templates, and those of health probes.
extension Steering {
    /// From now on nothing below the cgroup reaches the mesh unless it is enrolled. Enrol its children with
    /// ``Enrolment/isGuarded``. It holds while no daemon runs, whatever the fail mode.
    package func setGuard(cgroupPath: String) throws(SteeringError) {
        let cgroup = try Self.cgroup(cgroupPath)
        if cgroup.contains(self.proxyCgroup) {
            throw SteeringError(.conflict, "the cgroup \(cgroupPath) contains nodemeshd itself and cannot be guarded")
        }
        try self.state.withLock { state throws(SteeringError) in
            try self.attach([.guard4, .guard6], to: cgroup, below: self.layout.guards)
            state.guards.insert(cgroup.id)
        }
    }

    /// Lets what is below the cgroup go where it wants again.
    package func removeGuard(cgroupPath: String) throws(SteeringError) {
        let cgroup = try Self.cgroup(cgroupPath)
        try self.state.withLock { state throws(SteeringError) in
            try self.detach(cgroup.id, below: self.layout.guards)
            state.guards.remove(cgroup.id)
        }
    }

    /// Puts guards back whose programs somebody has removed, as far as the kernel allows.
    ///
    /// - Returns: the cgroups that had lost one, and at which hook.
    package func restoreGuards() -> [(cgroupPath: String, hook: String)] {
        self.state.withLock { state in
            var lost: [(cgroupPath: String, hook: String)] = []
            for id in state.guards {
                guard let cgroup = try? Cgroup(id: id), let directory = try? FileDescriptor(path: cgroup.path) else {
                    continue
                }
                let hooks = [NodeHook.guard4, .guard6].filter { hook in
                    guard let program = self.nodePrograms[hook], let own = try? BPF.info(ofProgram: program.raw).id,
                        let running = try? BPF.effective(directory.raw, hook.attachType)
                    else { return false }
                    return !running.contains(own)
                }
                guard !hooks.isEmpty else { continue }
                lost += hooks.map { (cgroup.path, BPF.name(of: $0.attachType)) }
                // One that fails is found missing again.
                try? self.attach([.guard4, .guard6], to: cgroup, below: self.layout.guards)
            }
            return lost
        }
    }

    /// Makes these the cgroups whose connects to workloads of this node pass without the proxy. None of them may hold a
    /// workload or nodemeshd. Those that exist are set even when others do not.
    ///
    /// - Throws: the first problem.
    package func setProbeCgroups(_ paths: [String]) throws(SteeringError) {
        try self.state.withLock { state throws(SteeringError) in
            var (wanted, problem) = (Set<UInt64>(), SteeringError?.none)
            for path in paths {
                do throws(SteeringError) {
                    let cgroup = try Self.cgroup(path)
                    try self.checkProbe(cgroup, state: state)
                    try self.attach([.probeSockops], to: cgroup, below: self.layout.probes)
                    wanted.insert(cgroup.id)
                } catch {
                    problem = problem ?? error
                }
            }
            for id in state.probes.subtracting(wanted) { try self.detach(id, below: self.layout.probes) }
            if !state.probes.isSubset(of: wanted) { try self.forgetProbes() }
            state.probes = wanted
            if let problem { throw problem }
        }
    }

    private func checkProbe(_ cgroup: Cgroup, state: borrowing State) throws(SteeringError) {
        if cgroup.contains(self.proxyCgroup) || self.proxyCgroup.contains(cgroup) {
            throw SteeringError(.conflict, "the cgroup \(cgroup.path) for health probes overlaps nodemeshd's own")
        }
        for (_, workload) in state.enrolled where cgroup.contains(workload.cgroup) {
            throw SteeringError(
                .conflict,
                "the cgroup \(cgroup.path) for health probes contains workload \(workload.id), for which no policy would hold"
            )
        }
    }

    private static func cgroup(_ path: String) throws(SteeringError) -> Cgroup {
        do throws(SystemError) {
            return try Cgroup(path: path)
        } catch {
            throw SteeringError(
                error.errno == ENOENT ? .vanished : .invalid, "\(path) is no cgroup of version 2: \(error)")
        }
    }

    private func attach(_ hooks: [NodeHook], to cgroup: Cgroup, below parent: String) throws(SteeringError) {
        let directory = "\(parent)/\(cgroup.id)"
        do throws(SystemError) {
            try FileTree.makeDirectory(directory)
            for hook in hooks {
                try Self.attach(self.nodePrograms[hook], hook, to: cgroup, pin: "\(directory)/\(hook.rawValue)")
            }
        } catch {
            try? BPF.removeLinks(directory)
            throw Self.explain(error, attaching: "cgroup \(cgroup.path)", to: cgroup.path)
        }
    }

    private func detach(_ cgroup: UInt64, below parent: String) throws(SteeringError) {
        do throws(SystemError) {
            try BPF.removeLinks("\(parent)/\(cgroup)")
        } catch {
            throw SteeringError(.bpffs, "\(parent)/\(cgroup): \(error)")
        }
    }

    /// With their sockops gone, nobody removes what probes have announced.
    private func forgetProbes() throws(SteeringError) {
        let map = self.maps[.direct]
        do throws(SystemError) {
            for flow in try BPF.keys(map: map, empty: nm_flow_key()) {
                let value = try BPF.lookup(map: map, key: flow, empty: nm_direct_flow())
                if value?.kind == UInt16(NM_FLOW_PROBE) { try BPF.delete(map: map, key: flow) }
            }
        } catch {
            throw SteeringError(.system, "connections of health probes: \(error)")
        }
    }
}
