// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import CMeshABI
import MeshLinux

// What a daemon finds of the one before it, whose sockets it may have taken over.
extension Steering {
    /// Of the kernel maps: daemons with different ones cannot use the same.
    package static var abiVersion: UInt32 { UInt32(NM_ABI_VERSION) }

    /// The lock of the instance, for the process that takes over: it is held as long as one of them has it.
    package func duplicateLock() throws(SystemError) -> FileDescriptor { try self.copyLock() }

    /// Under which key the kernel knows each cgroup, by its id. Connections that were being made when the last run ended
    /// carry these keys.
    package func formerKeys() -> [UInt64: UInt32] {
        let records = (try? self.records()) ?? []
        return Dictionary(records.map { ($0.cgroup, $0.record.key) }, uniquingKeysWith: { $1 })
    }

    private static let formerPrefix = "sockops-"

    /// A socket stays in the cgroup it was made in. The daemon's may be a new one after a restart, since a service
    /// manager removes that of a stopped unit; sockets that were handed over then need the program at the former one,
    /// which lives as long as they do.
    ///
    /// - Returns: the ids of former cgroups that sockets are left of.
    static func keepFormer(
        _ program: ProgramLoader.Program?, in directory: String, besides cgroup: Cgroup
    ) throws(SystemError) -> Set<UInt64> {
        let present = directory + "/sockops"
        if let link = try BPF.open(pinned: present) {
            let id = try BPF.info(ofLink: link.raw).cgroup.cgroup_id
            if id != 0, id != cgroup.id {
                let former = "\(directory)/\(Self.formerPrefix)\(id)"
                try FileTree.remove(former)
                try FileTree.rename(present, to: former)
            }
        }
        var found: Set<UInt64> = []
        for name in try FileTree.names(in: directory) ?? [] where name.hasPrefix(Self.formerPrefix) {
            let pin = directory + "/" + name
            guard let link = try BPF.open(pinned: pin) else { continue }
            let info = try BPF.info(ofLink: link.raw)
            let id = info.cgroup.cgroup_id
            // Two programs at one cgroup would count everything twice.
            guard id != 0, id != cgroup.id else {
                try BPF.removeLinks(pin)
                continue
            }
            if let program { try Self.put(program, into: link, of: info) }
            found.insert(id)
        }
        return found
    }

    /// The kernel cuts the link of a removed cgroup when its last socket is gone.
    static func dropFormer(in directory: String) throws(SystemError) {
        for name in try FileTree.names(in: directory) ?? [] where name.hasPrefix(Self.formerPrefix) {
            let pin = directory + "/" + name
            guard let link = try BPF.open(pinned: pin), try BPF.info(ofLink: link.raw).cgroup.cgroup_id == 0 else {
                continue
            }
            try BPF.removeLinks(pin)
        }
    }
}
