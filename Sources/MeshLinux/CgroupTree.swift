// SPDX-License-Identifier: Apache-2.0
import Glibc

extension Cgroup {
    /// The cgroup and all below it, parents before children, at most `limit` of them. What vanishes meanwhile is left
    /// out.
    package func tree(limit: Int = 4096) -> [Cgroup] {
        var (found, next) = ([self], 0)
        while next < found.count, found.count < limit {
            let parent = found[next].path
            next += 1
            for name in Cgroup.children(of: parent) {
                if let child = try? Cgroup(path: parent + "/" + name) { found.append(child) }
            }
        }
        return Array(found.prefix(limit))
    }

    /// A process directly in it, or the first found below it: a pod's or a slice's processes are in its children.
    package func firstProcesses(limit: Int = 256) -> [Int32] {
        for cgroup in self.tree(limit: limit) {
            if let processes = try? cgroup.processes(), !processes.isEmpty { return processes }
        }
        return []
    }

    /// The directories directly below a cgroup's, sorted; none when it is not there.
    package static func children(of path: String) -> [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            // The kernel says what an entry is: no call for each of a cgroup's fifty files.
            guard entry.pointee.d_type == UInt8(4) else { continue }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }
}
