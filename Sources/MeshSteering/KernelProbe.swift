// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import CMeshABI
import CMeshLinux
import Glibc
import MeshLinux
import MeshPrograms

/// Finds out what this machine can do, by doing it: the embedded programs are loaded and attached to a scratch cgroup and
/// namespace, and taken away again. Nothing is pinned.
package enum KernelProbe {
    package static func run(bpffs: String = "/sys/fs/bpf") -> [KernelFeature] {
        [Self.version(), Self.privileges(), Self.cgroup(), Self.bpfFileSystem(bpffs)]
            + Self.mapTypes() + Self.programs()
            + [
                Self.netnsCookie(), Self.jit(), Self.btf(), Self.kernelTLS(), Self.lockedMemory(),
                Self.descriptors(), Self.library(),
            ]
    }

    // MARK: The machine

    private static func version() -> KernelFeature {
        let release = (try? FileTree.text(of: "/proc/sys/kernel/osrelease"))?.trimmed ?? "unknown"
        let isNew = Self.versionNumbers(release).map { $0 >= (6, 1) } ?? false
        return KernelFeature(
            name: "kernel version", isPresent: isNew, detail: release, loss: "only 6.1 and later are tested",
            isRequired: false)
    }

    /// The first two numbers of a kernel release.
    static func versionNumbers(_ release: String) -> (Int, Int)? {
        let parts = release.split(separator: ".", maxSplits: 2)
        guard parts.count >= 2, let major = Int(parts[0]), let minor = Int(parts[1].prefix { $0.isNumber }) else {
            return nil
        }
        return (major, minor)
    }

    private static func privileges() -> KernelFeature {
        let status = (try? FileTree.text(of: "/proc/self/status")) ?? ""
        let missing = Self.missingCapabilities(inStatus: status)
        return KernelFeature(
            name: "privileges", isPresent: missing.isEmpty,
            detail: missing.isEmpty ? "uid \(geteuid())" : "missing " + missing.joined(separator: ", "),
            loss: "nothing can be loaded or attached", isRequired: true)
    }

    /// The needed capabilities that the `CapEff` line of `/proc/PID/status` does not show.
    static func missingCapabilities(inStatus text: String) -> [String] {
        let line = text.split(separator: "\n").first { $0.hasPrefix("CapEff:") }
        let set = line.flatMap { UInt64($0.dropFirst(7).filter { !$0.isWhitespace }, radix: 16) } ?? 0
        let needed: [(String, UInt64)] = [("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21), ("CAP_BPF", 39)]
        return needed.filter { set >> $0.1 & 1 == 0 }.map(\.0)
    }

    private static func cgroup() -> KernelFeature {
        Self.attempt("cgroup v2", loss: "workloads cannot be told apart", isRequired: true) {
            "mounted at \(try Cgroup.mountPoint())"
        }
    }

    private static func bpfFileSystem(_ path: String) -> KernelFeature {
        let isThere = FileTree.isBPF(path)
        return KernelFeature(
            name: "bpf file system", isPresent: isThere,
            detail: isThere ? "mounted at \(path)" : "not mounted: mount -t bpf bpf \(path)",
            loss: "steering would end with the daemon", isRequired: true)
    }

    private static func netnsCookie() -> KernelFeature {
        Self.attempt("SO_NETNS_COOKIE", loss: "namespaces cannot be told apart", isRequired: true) {
            let socket = try Linux.tcpSocket()
            return "cookie \(try Linux.namespaceCookie(ofSocket: socket.raw))"
        }
    }

    private static func jit() -> KernelFeature {
        Self.attempt("eBPF JIT", loss: "each captured connect costs more", isRequired: false) {
            let value = try FileTree.text(of: "/proc/sys/net/core/bpf_jit_enable").trimmed
            guard value != "0" else { throw ProbeFailure("net.core.bpf_jit_enable is 0") }
            return "net.core.bpf_jit_enable is \(value)"
        }
    }

    private static func btf() -> KernelFeature {
        let isThere = FileTree.exists("/sys/kernel/btf/vmlinux")
        return KernelFeature(
            name: "BTF", isPresent: isThere, detail: isThere ? "/sys/kernel/btf/vmlinux" : "no /sys/kernel/btf/vmlinux",
            loss: "applications with MPTCP sockets see the proxy's address", isRequired: false)
    }

    private static func kernelTLS() -> KernelFeature {
        Self.attempt("kernel TLS", loss: "tunnels are encrypted in user space", isRequired: false) {
            let socket = try Linux.tcpSocket()
            // An unconnected socket is refused, but only after the module was found.
            if nm_set_ulp_tls(socket.raw) == 0 || errno == ENOTCONN { return "available" }
            throw SystemError(call: "setsockopt(TCP_ULP)", errno: errno)
        }
    }

    private static func lockedMemory() -> KernelFeature {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(__RLIMIT_MEMLOCK.rawValue), &limit)
        let text = limit.rlim_cur == rlim_t.max ? "unlimited" : "\(limit.rlim_cur) bytes"
        return KernelFeature(
            name: "locked memory", isPresent: true, detail: "\(text); maps are charged to the cgroup since Linux 5.11",
            loss: "maps may not fit", isRequired: false)
    }

    private static func descriptors() -> KernelFeature {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return KernelFeature(
            name: "open files", isPresent: limit.rlim_max >= 65_536, detail: "at most \(limit.rlim_max)",
            loss: "each proxied connection takes two, and two more while bytes are in flight", isRequired: false)
    }

    private static func library() -> KernelFeature {
        KernelFeature(
            name: "libbpf", isPresent: libbpf_major_version() >= 1, detail: String(cString: libbpf_version_string()),
            loss: "versions before 1.0 report errors differently", isRequired: true)
    }

    // MARK: eBPF

    private static func mapTypes() -> [KernelFeature] {
        let types: [(String, bpf_map_type, String)] = [
            ("map SK_STORAGE", BPF_MAP_TYPE_SK_STORAGE, "no original destination, no client address"),
            ("map LRU_HASH", BPF_MAP_TYPE_LRU_HASH, "no original destination, no client address"),
            ("map LPM_TRIE", BPF_MAP_TYPE_LPM_TRIE, "no mesh prefixes"),
            ("map CGROUP_STORAGE", BPF_MAP_TYPE_CGROUP_STORAGE, "workloads cannot be told apart"),
            ("map SOCKMAP", BPF_MAP_TYPE_SOCKMAP, "no inbound steering"),
            ("map PERCPU_ARRAY", BPF_MAP_TYPE_PERCPU_ARRAY, "no counters"),
            ("map RINGBUF", BPF_MAP_TYPE_RINGBUF, "no events"),
        ]
        return types.map { name, type, loss in
            let result = libbpf_probe_bpf_map_type(type, nil)
            let detail =
                result == 1 ? "can be created" : result == 0 ? "unknown to this kernel" : SystemError.text(of: -result)
            return KernelFeature(name: name, isPresent: result == 1, detail: detail, loss: loss, isRequired: true)
        }
    }

    private static func programs() -> [KernelFeature] {
        let names = "applications see the proxy's address"
        let cases: [(String, bpf_attach_type, EmbeddedProgram, String)] = [
            ("cgroup/connect4", BPF_CGROUP_INET4_CONNECT, .connect4, "IPv4 connects cannot be captured"),
            ("cgroup/connect6", BPF_CGROUP_INET6_CONNECT, .connect6, "IPv6 sockets can leave the mesh"),
            ("cgroup/getpeername4", BPF_CGROUP_INET4_GETPEERNAME, .getpeername4, names),
            ("cgroup/getpeername6", BPF_CGROUP_INET6_GETPEERNAME, .getpeername6, names),
            ("cgroup/getsockopt", BPF_CGROUP_GETSOCKOPT, .getsockopt, "SO_ORIGINAL_DST cannot be answered"),
            ("cgroup/sendmsg4", BPF_CGROUP_UDP4_SENDMSG, .sendmsg4, "DNS queries cannot be captured"),
            ("cgroup/sendmsg6", BPF_CGROUP_UDP6_SENDMSG, .sendmsg6, "DNS queries cannot be captured"),
            ("cgroup/recvmsg4", BPF_CGROUP_UDP4_RECVMSG, .recvmsg4, "DNS answers seem to come from nodemeshd"),
            ("cgroup/recvmsg6", BPF_CGROUP_UDP6_RECVMSG, .recvmsg6, "DNS answers seem to come from nodemeshd"),
            ("sockops of workloads", BPF_CGROUP_SOCK_OPS, .workloadSockops, "no original destination"),
            ("sockops of nodemeshd", BPF_CGROUP_SOCK_OPS, .proxySockops, "no original destination"),
            ("sockops of probes", BPF_CGROUP_SOCK_OPS, .probeSockops, "health probes cannot be recognised"),
            ("guard for connect4", BPF_CGROUP_INET4_CONNECT, .guard4, "templates' children start unguarded"),
            ("guard for connect6", BPF_CGROUP_INET6_CONNECT, .guard6, "templates' children start unguarded"),
            ("sk_lookup", BPF_SK_LOOKUP, .inbound, "inbound connections cannot be steered"),
        ]
        let maps: SteeringMaps
        do {
            maps = try SteeringMaps.unpinned()
        } catch {
            return cases.map { name, _, _, loss in
                KernelFeature(name: name, isPresent: false, detail: error.firstLine, loss: loss, isRequired: true)
            }
        }
        let scratch = ScratchCgroup()
        return cases.map { name, type, embedded, loss in
            Self.attempt(name, loss: loss, isRequired: true) {
                let program = try ProgramLoader.load(embedded, maps: maps, config: nm_config())
                // Each link ends with its descriptor.
                if type == BPF_SK_LOOKUP {
                    let namespace = try NetworkNamespace.create()
                    _ = try BPF.link(program: program.raw, to: namespace.raw, type: type)
                } else {
                    let directory = try FileDescriptor(path: try scratch.path())
                    _ = try BPF.link(program: program.raw, to: directory.raw, type: type)
                }
                return "loads and attaches"
            }
        }
    }

    /// A cgroup for trying links, removed at the end.
    private struct ScratchCgroup: ~Copyable {
        private let directory = (try? Cgroup.mountPoint()).map { "\($0)/nodemesh-check-\(getpid())" }

        func path() throws -> String {
            guard let directory = self.directory else { throw ProbeFailure("no cgroup v2 is mounted") }
            try FileTree.makeDirectory(directory)
            return directory
        }

        deinit {
            if let directory = self.directory { _ = rmdir(directory) }
        }
    }

    private struct ProbeFailure: Error, CustomStringConvertible {
        let description: String
        init(_ description: String) { self.description = description }
    }

    private static func attempt(
        _ name: String, loss: String, isRequired: Bool, _ body: () throws -> String
    ) -> KernelFeature {
        do {
            return KernelFeature(name: name, isPresent: true, detail: try body(), loss: loss, isRequired: isRequired)
        } catch {
            return KernelFeature(
                name: name, isPresent: false, detail: error.firstLine, loss: loss, isRequired: isRequired)
        }
    }
}

extension Error {
    fileprivate var firstLine: String { "\(self)".split(separator: "\n").first.map(String.init) ?? "unknown" }
}

extension String {
    fileprivate var trimmed: String { String(self.drop { $0.isWhitespace }.prefix { !$0.isWhitespace }) }
}
