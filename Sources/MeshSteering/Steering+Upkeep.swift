// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import CMeshABI
import Glibc
import Logging
import MeshLinux
import MeshModel
import Synchronization

extension Steering {
    /// Makes these the mesh's destinations. Whatever belongs to the mesh before and after is captured all the time. More
    /// than the map holds are covered by wider prefixes: what these hold in addition reaches the proxy too, but nothing of
    /// the mesh goes past it.
    package func setPrefixes(_ prefixes: [IPPrefix]) throws(SteeringError) {
        try self.state.withLock { state throws(SteeringError) in
            do throws(SystemError) {
                let entries = Int(try BPF.info(ofMap: self.maps[.prefixes]).max_entries)
                let capacity = entries - SteeringMaps.sparePrefixes
                let wanted = IPPrefix.cover(Set(prefixes), limit: capacity)
                if wanted.count < Set(prefixes).count {
                    self.logger.warning(
                        "more mesh prefixes than the map holds, so wider ones are captured; raise the size of the map",
                        metadata: ["bpf.prefixes": "\(prefixes.count)", "bpf.capacity": "\(capacity)"])
                }
                let all = state.prefixes.union(wanted)
                if all.count <= entries {
                    try self.addPrefixes(wanted, &state)
                } else {
                    // No room for both: one prefix of each family stands for all meanwhile.
                    let cover = IPPrefix.cover(all, limit: 1)
                    try self.addPrefixes(cover, &state)
                    try self.removePrefixes(state.prefixes.subtracting(cover).subtracting(wanted), &state)
                    try self.addPrefixes(wanted, &state)
                }
                try self.removePrefixes(state.prefixes.subtracting(wanted), &state)
            } catch {
                throw SteeringError(
                    error.errno == ENOSPC ? .capacity : .system,
                    "mesh prefixes: \(error); raise the capacity for prefixes if the map is full")
            }
        }
    }

    private func addPrefixes(_ prefixes: Set<IPPrefix>, _ state: inout State) throws(SystemError) {
        for prefix in prefixes.subtracting(state.prefixes) {
            try BPF.update(map: self.maps[.prefixes], key: nm_prefix_key(prefix), value: prefix.family)
            state.prefixes.insert(prefix)
        }
    }

    private func removePrefixes(_ prefixes: Set<IPPrefix>, _ state: inout State) throws(SystemError) {
        for prefix in prefixes {
            try BPF.delete(map: self.maps[.prefixes], key: nm_prefix_key(prefix))
            state.prefixes.remove(prefix)
        }
    }

    /// Removes what nobody needs any more: workloads whose cgroup or namespace is gone; workloads, guards and probes of an
    /// earlier run that were not asked for again; former states. Call it once after start-up enrolment and then now and
    /// then. A workload that has lost a program and is there stays: see ``missingPrograms(of:)``.
    ///
    /// - Parameter known: keys of workloads whose namespace the caller knows to be there. A link to it that leads nowhere
    ///   was cut by somebody then, not by the end of the namespace.
    /// - Returns: the workloads whose cgroup or namespace has vanished; they are enrolled no longer.
    @discardableResult
    package func pruneStale(keeping known: Set<UInt32> = []) throws(SteeringError) -> [EnrolledCgroup] {
        try self.state.withLock { state throws(SteeringError) in
            do throws(SystemError) {
                var vanished: [EnrolledCgroup] = []
                for (key, entry) in state.enrolled
                where try self.isGone(entry, isNamespaceKnown: known.contains(key)) {
                    state.enrolled[key] = nil
                    vanished.append(
                        EnrolledCgroup(
                            key: key, cgroupID: entry.cgroup.id, id: entry.id, cgroupPath: entry.cgroup.path,
                            namespaceCookie: entry.cookie))
                }
                let live = Set(state.enrolled.values.map(\.cgroup.id))
                for (cgroup, record) in try self.records() where !live.contains(cgroup) {
                    self.forget(cgroup: cgroup, record)
                }
                try Self.removePins(in: self.layout.workloads, except: live)
                try Self.removePins(in: self.layout.namespaces, except: Set(state.enrolled.values.map(\.cookie)))
                try Self.removePins(in: self.layout.guards, except: state.guards)
                try Self.removePins(in: self.layout.probes, except: state.probes)
                try Self.dropFormer(in: self.layout.proxy)
                try self.removeStalePrograms(state.enrolled.values)
                for old in try self.layout.oldStates() {
                    for folder in PinLayout.folders where folder != "maps" {
                        try BPF.removeLinks(old + "/" + folder)
                    }
                    try FileTree.remove(old)
                }
                return vanished
            } catch {
                throw SteeringError(.bpffs, "\(self.layout.directory): \(error)")
            }
        }
    }

    private static func removePins(in directory: String, except live: Set<UInt64>) throws(SystemError) {
        let names = Set(live.map(String.init))
        for name in try FileTree.names(in: directory) ?? [] where !names.contains(name) {
            try BPF.removeLinks(directory + "/" + name)
        }
    }

    /// Whether the workload's cgroup or namespace has ended. The kernel cuts the link to a namespace when that ends; a pin
    /// that somebody has removed says nothing of the kind.
    private func isGone(_ entry: Enrolled, isNamespaceKnown: Bool) throws(SystemError) -> Bool {
        guard (try? Cgroup(path: entry.cgroup.path))?.id == entry.cgroup.id else { return true }
        guard !isNamespaceKnown, let inbound = try BPF.open(pinned: self.layout.namespace(entry.cookie)) else {
            return false
        }
        return try BPF.info(ofLink: inbound.raw).netns.netns_ino == 0
    }

    /// How often each thing has happened since the maps were made, by ``Reason/name``.
    package func counters() -> [String: UInt64] {
        let processors = max(1, Int(libbpf_num_possible_cpus()))
        let pairs = Reason.allCases.map { reason in
            let count = try? BPF.sum(map: self.maps[.counters], index: reason.rawValue, processors: processors)
            return (reason.name, count ?? 0)
        }
        return Dictionary(uniqueKeysWithValues: pairs)
    }

    /// How full each map is. Counts entry by entry: not for every scrape.
    package func mapStatus() -> [MapStatus] {
        SteeringMaps.Name.allCases.map { name in
            let fd = self.maps[name]
            let capacity = (try? BPF.info(ofMap: fd).max_entries) ?? 0
            let entries: Int? =
                switch name {
                case .origins, .proxied, .direct, .sockmap: try? BPF.keys(map: fd, empty: nm_flow_key()).count
                case .prefixes: try? BPF.keys(map: fd, empty: nm_prefix_key()).count
                case .namespaces, .enrolled: try? BPF.keys(map: fd, empty: UInt64(0)).count
                case .listeners:
                    try? Set(self.records().map(\.record.slot)).count { slot in
                        let cookie = try? BPF.lookup(map: fd, key: slot, empty: UInt64(0))
                        return cookie.flatMap(\.self) != nil
                    }
                case .resolvers:
                    try? Set(self.records().map(\.record.slot)).reduce(0) { count, slot in
                        count + self.resolverCount(slot: slot)
                    }
                case .queries: try? BPF.keys(map: fd, empty: nm_query_key()).count
                case .failOpen: try? BPF.keys(map: fd, empty: UInt32(0)).count
                case .ports: try? BPF.keys(map: fd, empty: nm_port_key()).count
                case .excludedPrefixes: try? BPF.keys(map: fd, empty: nm_exclusion_key()).count
                case .excludedPorts: try? BPF.keys(map: fd, empty: nm_excluded_port()).count
                case .local: try? BPF.keys(map: fd, empty: nm_local_key()).count
                case .verdicts: try? BPF.keys(map: fd, empty: nm_verdict_key()).count
                case .loads: try? BPF.keys(map: fd, empty: nm_load_key()).count
                case .abi, .counters, .settings, .totals, .lostPorts, .sockets, .joins, .asked, .workloads,
                    .events:
                    nil
                }
            return MapStatus(name: name.rawValue, entries: entries, capacity: capacity)
        }
    }

    /// Takes everything of an instance out of the kernel: programs, links, maps. Without such an instance does nothing.
    ///
    /// - Throws: `.inUse` while a daemon uses it.
    package static func removeAll(instance: String, bpffs: String = "/sys/fs/bpf") throws(SteeringError) {
        let layout = try PinLayout(bpffs: bpffs, instance: instance)
        try layout.checkFileSystem()
        guard FileTree.exists(layout.directory) else { return }
        let lock = try layout.lock()
        do throws(SystemError) {
            Self.detachRedirects(instance: instance)
            for state in try FileTree.names(in: layout.directory) ?? [] {
                for folder in PinLayout.folders where folder != "maps" {
                    try BPF.removeLinks("\(layout.directory)/\(state)/\(folder)")
                }
            }
            try FileTree.remove(layout.directory)
            // Fails while another instance lives there, which is fine.
            _ = rmdir(layout.root)
        } catch {
            throw SteeringError(.bpffs, "\(layout.directory): \(error)")
        }
        _ = consume lock
    }
}
