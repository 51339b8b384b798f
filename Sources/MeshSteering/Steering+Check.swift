// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import Glibc
import MeshLinux
import Synchronization

/// A hook of an enrolled cgroup, or of its network namespace, at which this instance's program does not run.
package struct MissingProgram: Hashable, Sendable {
    /// The workload's name.
    package let id: String
    package let key: UInt32
    package let cgroupPath: String
    /// Such as `cgroup/connect4`.
    package let hook: String
}

extension Steering {
    /// Asks the kernel which programs run for each enrolled cgroup, those attached further up included, and for its network
    /// namespace, and compares. A cgroup that is gone misses nothing.
    ///
    /// - Parameter only: the key of the one workload to ask about; nil: all.
    package func missingPrograms(of only: UInt32? = nil) -> [MissingProgram] {
        let (enrolled, ids) = self.state.withLock { state in
            (state.enrolled, self.programs.compactMapValues { try? BPF.info(ofProgram: $0.raw).id })
        }
        var missing: [MissingProgram] = []
        for (key, entry) in enrolled where only == nil || only == key {
            guard let directory = try? FileDescriptor(path: entry.cgroup.path),
                (try? Cgroup(path: entry.cgroup.path))?.id == entry.cgroup.id
            else { continue }
            let place = (id: entry.id, path: entry.cgroup.path)
            if (try? self.isInboundAttached(entry)) == false {
                missing.append(
                    MissingProgram(
                        id: place.id, key: key, cgroupPath: place.path, hook: BPF.name(of: BPF_SK_LOOKUP)))
            }
            for hook in entry.hooks {
                guard let id = ids[hook], let running = try? BPF.effective(directory.raw, hook.attachType),
                    !running.contains(id)
                else { continue }
                missing.append(
                    MissingProgram(
                        id: place.id, key: key, cgroupPath: place.path, hook: BPF.name(of: hook.attachType)))
            }
        }
        // One that was unenrolled meanwhile misses nothing.
        let still = self.state.withLock { $0.enrolled.mapValues(\.cgroup.id) }
        missing.removeAll { still[$0.key] != enrolled[$0.key]?.cgroup.id }
        return missing.sorted { ($0.id, $0.hook) < ($1.id, $1.hook) }
    }
}

extension BPF {
    /// The ids of the programs that run at a hook of a cgroup, wherever they are attached.
    static func effective(_ cgroup: CInt, _ type: bpf_attach_type) throws(SystemError) -> [UInt32] {
        // The kernel takes at most 64 at one hook of one cgroup, and those of its parents run too.
        var ids = [UInt32](repeating: 0, count: 1024)
        var count = UInt32(ids.count)
        let result = bpf_prog_query(cgroup, type, UInt32(BPF_F_QUERY_EFFECTIVE), nil, &ids, &count)
        guard result == 0 else { throw SystemError(call: "bpf(PROG_QUERY)", errno: -result) }
        return Array(ids.prefix(Int(count)))
    }
}
