// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import CMeshABI
import Glibc
import Logging
import MeshLinux
import MeshModel
import MeshPrograms
import Synchronization

extension Steering {
    /// Steers a workload from now on. Adopts what an earlier run attached to its cgroup; enrolling the same cgroup again
    /// under the same key updates its addresses. On an error nothing new stays attached.
    package func enrol(_ enrolment: Enrolment) throws(SteeringError) {
        guard enrolment.addresses.count <= Int(NM_OWN_ADDRESSES) else {
            throw SteeringError(.invalid, "workload \(enrolment.id): at most \(NM_OWN_ADDRESSES) addresses")
        }
        let (cgroup, cookie) = try Self.resolve(enrolment)
        try self.state.withLock { state throws(SteeringError) in
            try self.checkConflicts(enrolment, cgroup: cgroup, cookie: cookie, state: state)
            let record = try self.record(enrolment, cgroup: cgroup, cookie: cookie)
            let directory = self.layout.workload(cgroup.id)
            let isNew = !FileTree.exists(directory)
            do {
                let config = self.config(netns: cookie)
                let inbound = try ProgramLoader.load(.inbound, maps: self.maps, config: config)
                try self.attachAll(
                    enrolment, cgroup: cgroup, slot: record.slot, inbound: inbound,
                    directory: isNew ? directory + "-new" : directory)
                if isNew { try FileTree.rename(directory + "-new", to: directory) }
                // The programs of another ABI version have served until here.
                for old in try self.layout.oldStates() { try FileTree.remove("\(old)/workloads/\(cgroup.id)") }
            } catch {
                if isNew { self.forget(cgroup: cgroup.id, record) }
                throw Self.explain(error, enrolment)
            }
            state.enrolled[enrolment.key] = Enrolled(
                id: enrolment.id, cgroup: cgroup, cookie: cookie, slot: record.slot)
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

    /// Names the sockets that take a workload's inbound connections: one, or a group that shares the port
    /// (SO_REUSEPORT), over which the kernel spreads. Without one, inbound connections are refused.
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

    // MARK: Attaching

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
        if let own = try? NetworkNamespace.ofProcess(), own.inode == enrolment.namespace.inode {
            throw SteeringError(
                .conflict,
                "\(name): it shares nodemeshd's network namespace; only workloads with their own can be enrolled")
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
            if other.cookie == cookie {
                throw SteeringError(
                    .conflict,
                    "\(name): it shares the network namespace of workload \(other.id), which has no support yet")
            }
        }
    }

    /// Reserves a slot and writes down what a later run needs. A crash after this leaves a record without pins, which
    /// ``pruneStale()`` removes.
    private func record(
        _ enrolment: Enrolment, cgroup: Cgroup, cookie: UInt64
    ) throws(SteeringError) -> nm_enrolment {
        do throws(SystemError) {
            let records = try self.records()
            let known = records.first { $0.cgroup == cgroup.id }?.record
            let used = Set(records.map(\.record.slot))
            let capacity = try BPF.info(ofMap: self.maps[.listeners]).max_entries
            guard let slot = known?.slot ?? (0..<capacity).first(where: { !used.contains($0) }) else {
                throw SystemError(call: "nm_listeners", errno: ENOSPC)
            }
            if let known, known.netns != cookie { try BPF.delete(map: self.maps[.namespaces], key: known.netns) }
            let record = nm_enrolment(
                netns: cookie, netns_inode: enrolment.namespace.inode, key: enrolment.key, slot: slot)
            try BPF.update(map: self.maps[.enrolled], key: cgroup.id, value: record)
            let flags = self.configuration.failMode == .open ? UInt32(NM_NAMESPACE_FAIL_OPEN) : 0
            try BPF.update(
                map: self.maps[.namespaces], key: cookie,
                value: nm_namespace(slot: slot, flags: flags, workload: enrolment.key, pad: 0))
            return record
        } catch {
            throw SteeringError(
                error.errno == E2BIG || error.errno == ENOSPC ? .capacity : .system,
                "workload \(enrolment.id): \(error); raise the capacity for workloads if the map is full")
        }
    }

    private func config(netns: UInt64) -> nm_config {
        var config = nm_config(self.configuration)
        config.netns = netns
        return config
    }

    private func attachAll(
        _ enrolment: Enrolment, cgroup: Cgroup, slot: UInt32, inbound: ProgramLoader.Program, directory: String
    ) throws {
        try FileTree.makeDirectory(directory)
        let target = try FileDescriptor(path: cgroup.path)
        for hook in Hook.allCases {
            switch hook {
            case .inbound:
                let cookie = try enrolment.namespace.cookie()
                if !enrolment.inboundListeners.isEmpty {
                    try self.setListeners(enrolment.inboundListeners, slot: slot, cookie: cookie)
                }
                try Self.attach(
                    inbound, hook, to: enrolment.namespace.raw, pin: "\(directory)/\(hook.rawValue)"
                ) { $0.netns.netns_ino == UInt32(truncatingIfNeeded: enrolment.namespace.inode) }
            case .getpeername6, .getpeername4, .workloadSockops, .connect4, .connect6:
                guard let program = self.programs[hook] else { continue }
                try Self.attach(program, hook, to: target.raw, pin: "\(directory)/\(hook.rawValue)") {
                    $0.cgroup.cgroup_id == cgroup.id
                }
                if hook == .getpeername6 {
                    var workload = nm_workload(enrolment, slot: slot, netns: try enrolment.namespace.cookie())
                    if self.configuration.failMode == .open { workload.flags |= UInt32(NM_WORKLOAD_FAIL_OPEN) }
                    try BPF.update(map: self.maps[.workloads], key: cgroup.id, value: workload)
                }
            }
        }
    }

    /// Puts a program at a hook: into the link pinned there if that still leads to the right place, else by a new link.
    private static func attach(
        _ program: ProgramLoader.Program, _ hook: Hook, to target: CInt, pin: String,
        isRight: (bpf_link_info) -> Bool
    ) throws(SystemError) {
        if let link = try BPF.open(pinned: pin) {
            if isRight(try BPF.info(ofLink: link.raw)) {
                return try BPF.update(link: link.raw, program: program.raw)
            }
            try FileTree.remove(pin)
        }
        let link = try BPF.link(program: program.raw, to: target, type: hook.attachType)
        try BPF.pin(link.raw, at: pin)
    }

    private func setListeners(_ fds: [CInt], slot: UInt32, cookie: UInt64) throws(SystemError) {
        guard let first = fds.first else { return try BPF.delete(map: self.maps[.listeners], key: slot) }
        for fd in fds where try Linux.namespaceCookie(ofSocket: fd) != cookie {
            throw SystemError(call: "a listener outside the workload's network namespace", errno: EINVAL)
        }
        // One member stands for its SO_REUSEPORT group.
        try BPF.update(map: self.maps[.listeners], key: slot, value: UInt64(UInt32(bitPattern: first)))
    }

    private static func explain(_ error: any Error, _ enrolment: Enrolment) -> SteeringError {
        if let error = error as? SteeringError { return error }
        let what = "workload \(enrolment.id)"
        guard let failure = error as? SystemError else { return SteeringError(.system, "\(what): \(error)") }
        if failure.errno == ENOENT || failure.errno == ENODEV {
            return SteeringError(.vanished, "\(what): its cgroup or namespace is gone: \(failure)")
        }
        return Self.explain(failure, attaching: what, to: enrolment.cgroupPath)
    }

    /// Why a program cannot be attached to a cgroup.
    static func explain(_ failure: SystemError, attaching what: String, to path: String) -> SteeringError {
        guard failure.errno == EPERM, geteuid() == 0 else { return SteeringError(.attach, "\(what): \(failure)") }
        return SteeringError(
            .foreignProgram,
            "\(what): another program is attached to \(path) or a cgroup above it in exclusive mode (without"
                + " BPF_F_ALLOW_MULTI); `bpftool cgroup tree` shows which")
    }

    // MARK: Records

    /// What is written in `nm_enrolled`.
    func records() throws(SystemError) -> [(cgroup: UInt64, record: nm_enrolment)] {
        let capacity = Int(try BPF.info(ofMap: self.maps[.enrolled]).max_entries)
        var records: [(cgroup: UInt64, record: nm_enrolment)] = []
        for cgroup in try BPF.keys(map: self.maps[.enrolled], empty: UInt64(0), limit: capacity) {
            if let record = try BPF.lookup(map: self.maps[.enrolled], key: cgroup, empty: nm_enrolment()) {
                records.append((cgroup, record))
            }
        }
        return records
    }

    /// Detaches everything from a cgroup and its namespace and frees its records. Goes on after errors, which it logs.
    func forget(cgroup: UInt64, _ record: nm_enrolment) {
        let directory = self.layout.workload(cgroup)
        let steps: [(String, () throws(SystemError) -> Void)] = [
            // connect4 and connect6 go first: while the rest goes, nothing new is captured.
            ("connect4", { () throws(SystemError) in try FileTree.remove(directory + "/connect4") }),
            ("connect6", { () throws(SystemError) in try FileTree.remove(directory + "/connect6") }),
            ("links", { () throws(SystemError) in try FileTree.remove(directory) }),
            ("links", { () throws(SystemError) in try FileTree.remove(directory + "-new") }),
            ("listener", { () throws(SystemError) in try BPF.delete(map: self.maps[.listeners], key: record.slot) }),
            ("record", { () throws(SystemError) in try BPF.delete(map: self.maps[.enrolled], key: cgroup) }),
            (
                "namespace",
                { () throws(SystemError) in
                    // A container started again may have a new cgroup in its old namespace.
                    if try self.records().contains(where: { $0.record.netns == record.netns }) { return }
                    try BPF.delete(map: self.maps[.namespaces], key: record.netns)
                }
            ),
        ]
        for (name, step) in steps {
            do throws(SystemError) {
                try step()
            } catch {
                self.logger.error(
                    "cannot detach completely",
                    metadata: ["bpf.part": "\(name)", "cgroup.id": "\(cgroup)", "error": "\(error)"])
            }
        }
        // The storage may outlive the links: nothing of it may count when the cgroup is enrolled again.
        try? BPF.update(map: self.maps[.workloads], key: cgroup, value: nm_workload())
    }
}
