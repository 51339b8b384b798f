// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshLinux

extension Steering {
    /// What of an instance is pinned: files of bpffs, each a program's link or a map. 0 where there is none.
    package static func pinned(instance: String, bpffs: String = "/sys/fs/bpf") throws(SteeringError) -> Int {
        let layout = try PinLayout(bpffs: bpffs, instance: instance)
        do throws(SystemError) {
            return try Self.files(below: layout.directory)
        } catch {
            throw SteeringError(.bpffs, "\(layout.directory): \(error)")
        }
    }

    private static func files(below directory: String) throws(SystemError) -> Int {
        var count = 0
        for name in try FileTree.names(in: directory) ?? [] {
            let path = "\(directory)/\(name)"
            count += FileTree.isDirectory(path) ? try Self.files(below: path) : 1
        }
        return count
    }

    /// Has every workload's captured connections refused from now on, whatever its fail mode was: the programs stay, and
    /// nobody listens. It holds for the cgroups that exist, until they go, the machine is booted anew, or
    /// ``removeAll(instance:bpffs:)``. Without such an instance does nothing.
    ///
    /// - Throws: `.inUse` while a daemon uses it, `.conflict` when its maps are another version's.
    package static func refuseAll(instance: String, bpffs: String = "/sys/fs/bpf") throws(SteeringError) {
        let layout = try PinLayout(bpffs: bpffs, instance: instance)
        try layout.checkFileSystem()
        guard FileTree.exists(layout.directory) else { return }
        let lock = try layout.lock()
        guard FileTree.exists(layout.state) else { return }
        guard let maps = try SteeringMaps.open(pinnedIn: layout.maps) else {
            throw SteeringError(
                .conflict, "the maps in \(layout.maps) are another version's; use the program of that version")
        }
        do throws(SystemError) {
            for key in try BPF.keys(map: maps[.failOpen], empty: UInt32(0)) {
                try BPF.delete(map: maps[.failOpen], key: key)
            }
            for cgroup in try BPF.keys(map: maps[.enrolled], empty: UInt64(0)) {
                guard var workload = try BPF.lookup(map: maps[.workloads], key: cgroup, empty: nm_workload()) else {
                    continue
                }
                workload.failsOpen = false
                try BPF.update(map: maps[.workloads], key: cgroup, value: workload)
            }
        } catch {
            throw SteeringError(.system, "fail mode: \(error)")
        }
        _ = consume lock
    }
}
