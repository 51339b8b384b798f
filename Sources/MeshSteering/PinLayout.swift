// SPDX-License-Identifier: Apache-2.0
import MeshLinux

/// Where an instance keeps its pins. bpffs refuses names with dots.
///
///     <bpffs>/nodemesh/<instance>/            locked by the daemon that uses it
///         state/                              complete: built as state-new and renamed
///             maps/nm_*
///             proxy/sockops
///             proxy/sockops-<cgroup id>       of a cgroup that the daemon was in before, while sockets of it live
///             workloads/<cgroup id>/<hook>    complete: built as <cgroup id>-new and renamed
///             namespaces/<cookie>             the sk_lookup link, for all workloads in the namespace
///             guards/<cgroup id>/<hook>       of templates' parents
///             probes/<cgroup id>/<hook>       of cgroups whose connects are health probes
///             programs/<name>-<digest>-<...>  verified programs, for the next run: see ProgramPins
///             sockmap/reads                   behind the kernel's function that reads from sockets in a socket map
///         old-<n>/                            a former state of another ABI, until its workloads are enrolled again
struct PinLayout: Sendable {
    let bpffs: String
    let instance: String

    init(bpffs: String, instance: String) throws(SteeringError) {
        let isNameCharacter = { (byte: UInt8) in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
        guard (1...64).contains(instance.utf8.count), instance.utf8.allSatisfy(isNameCharacter) else {
            throw SteeringError(
                .invalid, "instance name \"\(instance)\": use 1 to 64 letters, digits, hyphens and underscores")
        }
        self.bpffs = bpffs
        self.instance = instance
    }

    var root: String { self.bpffs + "/nodemesh" }
    var directory: String { self.root + "/" + self.instance }
    var state: String { self.directory + "/state" }
    var maps: String { self.state + "/maps" }
    var proxy: String { self.state + "/proxy" }
    var proxySockops: String { self.proxy + "/sockops" }
    var workloads: String { self.state + "/workloads" }

    var namespaces: String { self.state + "/namespaces" }
    var guards: String { self.state + "/guards" }
    var probes: String { self.state + "/probes" }
    var sockmap: String { self.state + "/sockmap" }

    static func programs(in state: String) -> String { state + "/programs" }

    /// The maps, and the directories of links: everything below a state's directory but the programs.
    static let folders = ["maps", "proxy", "workloads", "namespaces", "guards", "probes", "sockmap"]

    func namespace(_ cookie: UInt64) -> String { "\(self.namespaces)/\(cookie)" }

    func workload(_ cgroup: UInt64) -> String { "\(self.workloads)/\(cgroup)" }

    /// The directories of former states.
    func oldStates() throws(SystemError) -> [String] {
        try (FileTree.names(in: self.directory) ?? []).filter { $0.hasPrefix("old-") }.map { self.directory + "/" + $0 }
    }

    /// Locks the instance's directory, which must exist.
    func lock() throws(SteeringError) -> FileDescriptor {
        let lock: FileDescriptor?
        do throws(SystemError) {
            lock = try FileTree.lock(directory: self.directory)
        } catch {
            throw SteeringError(.bpffs, "\(self.directory): \(error)")
        }
        guard let lock else {
            throw SteeringError(
                .inUse,
                "another process steers as instance \"\(self.instance)\"; stop it or choose another instance name")
        }
        return lock
    }

    /// Throws unless bpffs is there.
    func checkFileSystem() throws(SteeringError) {
        guard FileTree.isBPF(self.bpffs) else {
            throw SteeringError(
                .bpffs, "\(self.bpffs) is not a bpf file system; mount it: mount -t bpf bpf \(self.bpffs)")
        }
    }
}
