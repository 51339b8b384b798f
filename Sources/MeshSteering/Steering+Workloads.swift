// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import CMeshABI
import Glibc
import Logging
import MeshLinux
import MeshModel
import Synchronization

extension Steering {
    /// Steers a workload from now on. Adopts what an earlier run attached to its cgroup; enrolling the same cgroup again
    /// under the same key updates its addresses and options. On an error nothing new stays attached.
    package func enrol(_ enrolment: Enrolment) throws(SteeringError) {
        let name = "workload \(enrolment.id)"
        guard enrolment.key > 0 else { throw SteeringError(.invalid, "\(name): keys start at 1") }
        guard enrolment.addresses.count(where: { !$0.isLinkLocal }) <= Int(NM_OWN_ADDRESSES) else {
            throw SteeringError(.invalid, "\(name): at most \(NM_OWN_ADDRESSES) addresses besides link-local ones")
        }
        let (cgroup, cookie) = try Self.resolve(enrolment)
        try self.state.withLock { state throws(SteeringError) in
            try self.checkConflicts(enrolment, cgroup: cgroup, cookie: cookie, state: state)
            let isNew = !FileTree.exists(self.layout.workload(cgroup.id))
            let record = try self.record(enrolment, cgroup: cgroup, cookie: cookie)
            let entry = Enrolled(
                id: enrolment.id, cgroup: cgroup, cookie: cookie, slot: record.slot, isShared: enrolment.isShared,
                hooks: Hook.all(of: enrolment),
                failMode: enrolment.failMode, excludesInbound: !enrolment.excludedInboundPorts.isEmpty)
            do {
                try self.attach(enrolment, entry, isNew: isNew, state: state)
                // The programs of another ABI version have served until here.
                try self.removeOldPins(entry)
            } catch {
                if isNew { self.forget(cgroup: cgroup.id, record) }
                throw Self.explain(error, enrolment)
            }
            state.enrolled[enrolment.key] = entry
        }
    }

    /// Ends the steering of a workload; its connections go where they would go without nodemesh. Open ones live on.
    package func unenrol(_ key: UInt32) throws(SteeringError) {
        try self.state.withLock { state throws(SteeringError) in
            guard let enrolled = state.enrolled[key] else {
                throw SteeringError(.unknownWorkload, "no workload is enrolled under key \(key)")
            }
            let record = nm_enrolment(netns: enrolled.cookie, netns_inode: 0, key: key, slot: enrolled.slot)
            self.forget(cgroup: enrolled.cgroup.id, record)
            if FileTree.exists(self.layout.workload(enrolled.cgroup.id)) {
                throw SteeringError(.system, "workload \(enrolled.id): its pins could not be removed")
            }
            state.enrolled[key] = nil
        }
    }

    /// Every cgroup that carries this instance's programs, those of earlier runs included.
    package func enrolled() -> [EnrolledCgroup] {
        self.state.withLock { state in
            let own = state.enrolled.map { key, value in
                EnrolledCgroup(
                    key: key, cgroupID: value.cgroup.id, id: value.id, cgroupPath: value.cgroup.path,
                    namespaceCookie: value.cookie)
            }
            let known = Set(own.map(\.cgroupID))
            let left = ((try? self.records()) ?? []).filter { !known.contains($0.cgroup) }.map { cgroup, record in
                EnrolledCgroup(
                    key: record.key, cgroupID: cgroup, id: nil, cgroupPath: nil, namespaceCookie: record.netns)
            }
            return (own + left).sorted { $0.cgroupID < $1.cgroupID }
        }
    }

    // MARK: Checking

    private static func resolve(_ enrolment: Enrolment) throws(SteeringError) -> (Cgroup, UInt64) {
        let cgroup: Cgroup
        do throws(SystemError) {
            cgroup = try Cgroup(path: enrolment.cgroupPath)
        } catch {
            throw SteeringError(
                error.errno == ENOENT ? .vanished : .invalid,
                "workload \(enrolment.id): \(enrolment.cgroupPath) is no cgroup of version 2: \(error)")
        }
        do throws(SystemError) {
            return (cgroup, try enrolment.namespace.cookie())
        } catch {
            throw SteeringError(.system, "workload \(enrolment.id): its network namespace: \(error)")
        }
    }

    private func checkConflicts(
        _ enrolment: Enrolment, cgroup: Cgroup, cookie: UInt64, state: borrowing State
    ) throws(SteeringError) {
        let name = "workload \(enrolment.id)"
        if cgroup.contains(self.proxyCgroup) {
            throw SteeringError(.conflict, "\(name): its cgroup \(cgroup.path) contains nodemeshd itself")
        }
        if self.proxyCgroup.contains(cgroup) {
            throw SteeringError(
                .conflict,
                "\(name): its cgroup \(cgroup.path) lies below nodemeshd's own, \(self.proxyCgroup.path); give nodemeshd"
                    + " a cgroup of its own, as its systemd unit does")
        }
        if !enrolment.isShared, let own = try? NetworkNamespace.ofProcess(), own.inode == enrolment.namespace.inode {
            throw SteeringError(
                .conflict, "\(name): it lives in nodemeshd's network namespace, so it has to be enrolled as sharing it")
        }
        for (key, other) in state.enrolled {
            if key == enrolment.key {
                if other.cgroup.id == cgroup.id { continue }
                throw SteeringError(.conflict, "\(name): key \(key) belongs to workload \(other.id)")
            }
            if other.cgroup.contains(cgroup) || cgroup.contains(other.cgroup) {
                throw SteeringError(
                    .conflict,
                    "\(name): its cgroup \(cgroup.path) and that of workload \(other.id), \(other.cgroup.path), overlap"
                )
            }
            if other.cookie == cookie, !other.isShared || !enrolment.isShared {
                throw SteeringError(
                    .conflict,
                    "\(name): it lives in the network namespace of workload \(other.id); enrol both as sharing it")
            }
        }
        for probe in state.probes where (try? Cgroup(id: probe))?.contains(cgroup) == true {
            throw SteeringError(
                .conflict, "\(name): its cgroup \(cgroup.path) lies in one for health probes, for which no policy holds"
            )
        }
    }

    // MARK: Attaching

    private func attach(_ enrolment: Enrolment, _ entry: Enrolled, isNew: Bool, state: borrowing State) throws {
        let directory = self.layout.workload(entry.cgroup.id) + (isNew ? "-new" : "")
        let exclusions = Exclusions(
            prefixes: Set(enrolment.excludedPrefixes), outboundPorts: Set(enrolment.excludedOutboundPorts),
            inboundPorts: Set(enrolment.excludedInboundPorts))
        try exclusions.write(of: enrolment.key, to: self.maps)
        let isOpen = (enrolment.failMode ?? state.failMode) == .open
        try self.setFailsOpen(isOpen, key: enrolment.key)

        var workload = nm_workload(enrolment, slot: entry.slot, netns: entry.cookie)
        workload.failsOpen = isOpen
        try FileTree.makeDirectory(directory)
        let target = try FileDescriptor(path: entry.cgroup.path)
        for hook in entry.hooks {
            guard let program = self.programs[hook] else { continue }
            try Self.attach(program, to: target.raw, type: hook.attachType, pin: "\(directory)/\(hook.rawValue)") {
                $0.cgroup.cgroup_id == entry.cgroup.id
            }
            if hook == .getpeername6 {
                try BPF.update(map: self.maps[.workloads], key: entry.cgroup.id, value: workload)
            }
        }
        for hook in Hook.allCases where !entry.hooks.contains(hook) {
            try BPF.removeLinks("\(directory)/\(hook.rawValue)")
        }
        try self.attachNamespace(enrolment, entry, state: state)
        if isNew { try FileTree.rename(directory, to: self.layout.workload(entry.cgroup.id)) }
    }

    /// Puts a program at a hook: into the link pinned there if that still leads to the right place, else by a new link.
    static func attach(
        _ program: ProgramLoader.Program, to target: CInt, type: bpf_attach_type, pin: String,
        isRight: (bpf_link_info) -> Bool
    ) throws(SystemError) {
        if let link = try BPF.open(pinned: pin) {
            let info = try BPF.info(ofLink: link.raw)
            if isRight(info) { return try Self.put(program, into: link, of: info) }
            try FileTree.remove(pin)
        }
        let link = try BPF.link(program: program.raw, to: target, type: type)
        try BPF.pin(link.raw, at: pin)
    }

    /// In a shared namespace the programs of another version go on refusing until its last workload is enrolled again.
    private func removeOldPins(_ entry: Enrolled) throws(SystemError) {
        for old in try self.layout.oldStates() {
            try BPF.removeLinks("\(old)/workloads/\(entry.cgroup.id)")
            let left = try FileTree.names(in: "\(old)/workloads") ?? []
            if !entry.isShared || left.isEmpty {
                try BPF.removeLinks("\(old)/namespaces/\(entry.cookie)")
            }
        }
    }

    private static func explain(_ error: any Error, _ enrolment: Enrolment) -> SteeringError {
        if let error = error as? SteeringError { return error }
        let what = "workload \(enrolment.id)"
        guard let failure = error as? SystemError else { return SteeringError(.system, "\(what): \(error)") }
        switch failure.errno {
        case ENOENT, ENODEV:
            return SteeringError(.vanished, "\(what): its cgroup or namespace is gone: \(failure)")
        case E2BIG, ENOSPC:
            return SteeringError(.capacity, "\(what): \(failure); raise the size of the map that is full")
        default:
            return Self.explain(failure, attaching: what, to: enrolment.cgroupPath)
        }
    }

    /// Why a program cannot be attached to a cgroup.
    static func explain(_ failure: SystemError, attaching what: String, to path: String) -> SteeringError {
        guard failure.errno == EPERM, geteuid() == 0 else { return SteeringError(.attach, "\(what): \(failure)") }
        return SteeringError(
            .foreignProgram,
            "\(what): another program is attached to \(path) or a cgroup above it in exclusive mode (without"
                + " BPF_F_ALLOW_MULTI); `bpftool cgroup tree` shows which")
    }
}
