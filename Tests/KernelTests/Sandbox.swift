// SPDX-License-Identifier: Apache-2.0
import Glibc
import Logging
import MeshLinux
import MeshModel
import MeshSteering
import Synchronization
import Testing

/// Two namespaces and two cgroups of a test's own:
///
///     outside 10.77.0.1 --- eth0 --- 10.77.0.2 inside (the workload's namespace; default route to outside)
///
/// The test process is the proxy: it lives in the proxy cgroup, and steps into the workload's for a moment to make the
/// workload's sockets (a socket belongs to the cgroup its creator was in).
final class Sandbox: Sendable {
    private static let number = Mutex(0)

    let instance: String
    private let home: Cgroup
    private let parent: String
    let proxy: Cgroup
    let workload: Cgroup
    private let namespaces: Mutex<(inside: NetworkNamespace?, outside: NetworkNamespace?)>
    private let inodes: [UInt64]
    /// Nil while "the daemon" is down.
    private let current = Mutex<Steering?>(nil)
    let failMode: SteeringConfiguration.FailMode
    private let capacities: SteeringConfiguration.Capacities
    private let extra = Mutex<[String]>([])

    /// Small enough that a sandbox costs little.
    static var capacities: SteeringConfiguration.Capacities {
        var capacities = SteeringConfiguration.Capacities()
        capacities.flows = 4_096
        capacities.direct = 4_096
        capacities.eventBytes = 65_536
        return capacities
    }

    /// Runs `body` in a sandbox with a daemon, and checks that nothing is left of it.
    static func run(
        failMode: SteeringConfiguration.FailMode = .closed, prefixes: [String] = ["240.240.0.0/16", "fd00:77::/32"],
        isEnrolled: Bool = true, capacities: SteeringConfiguration.Capacities = Sandbox.capacities,
        _ body: (Sandbox) throws -> Void
    ) throws {
        try #require(geteuid() == 0, "kernel tests need root")
        let sandbox = try Sandbox(failMode: failMode, capacities: capacities)
        do {
            try sandbox.start()
            try sandbox.steering.setPrefixes(prefixes.compactMap { IPPrefix($0) })
            if isEnrolled { try sandbox.enrol() }
            try body(sandbox)
        } catch {
            try sandbox.close()
            throw error
        }
        try sandbox.close()
    }

    private init(failMode: SteeringConfiguration.FailMode, capacities: SteeringConfiguration.Capacities) throws {
        let number = Self.number.withLock { number in
            number += 1
            return number
        }
        self.failMode = failMode
        self.capacities = capacities
        self.instance = "kerneltest-\(getpid())-\(number)"
        self.home = try Cgroup(pid: getpid())
        self.parent = try Cgroup.mountPoint() + "/" + self.instance
        for path in [self.parent, self.parent + "/proxy", self.parent + "/workload"] {
            try FileTree.makeDirectory(path)
        }
        self.proxy = try Cgroup(path: self.parent + "/proxy")
        self.workload = try Cgroup(path: self.parent + "/workload")
        let (inside, outside) = (try NetworkNamespace.create(), try NetworkNamespace.create())
        self.inodes = [inside.inode, outside.inode]
        self.namespaces = Mutex((inside, outside))
        try self.proxy.add(pid: getpid())
        let peer = "/proc/\(getpid())/fd/\(outside.raw)"
        try Self.ip(inside, "link add eth0 type veth peer name eth0 netns \(peer)")
        for (namespace, address) in [(inside, "10.77.0.2/24"), (outside, "10.77.0.1/24")] {
            try Self.ip(namespace, "link set lo up")
            try Self.ip(namespace, "addr add \(address) dev eth0")
            try Self.ip(namespace, "link set eth0 up")
        }
        try Self.ip(inside, "route add default via 10.77.0.1")
        try Self.ip(inside, "-6 addr add fd01::2/64 dev eth0 nodad")
        try Self.ip(outside, "-6 addr add fd01::1/64 dev eth0 nodad")
    }

    private func close() throws {
        self.stop()
        try Steering.removeAll(instance: self.instance)
        #expect(!FileTree.exists("/sys/fs/bpf/nodemesh/\(self.instance)"))
        self.dropNamespaces()
        try self.home.add(pid: getpid())
        let extra = self.extra.withLock { $0 }
        for path in extra.reversed() + [self.workload.path, self.proxy.path, self.parent] where FileTree.exists(path) {
            try removeCgroup(path)
        }
        let open = try FileTree.names(in: "/proc/self/fd") ?? []
        let targets = Set(open.compactMap { try? FileTree.target(of: "/proc/self/fd/\($0)") })
        for inode in self.inodes { #expect(!targets.contains("net:[\(inode)]")) }
    }

    func dropNamespaces() { self.namespaces.withLock { $0 = (nil, nil) } }

    // MARK: The daemon

    var steering: Steering {
        self.current.withLock { steering in
            guard let steering else { preconditionFailure("the daemon is down") }
            return steering
        }
    }

    var isRunning: Bool { self.current.withLock { $0 != nil } }

    func start() throws {
        var configuration = SteeringConfiguration(instance: self.instance, proxyCgroup: self.proxy.path)
        configuration.failMode = self.failMode
        configuration.capacities = self.capacities
        let steering = try Steering(
            configuration: configuration, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        self.current.withLock { $0 = steering }
    }

    /// As a crash would: nothing is unpinned.
    func stop() { self.current.withLock { $0 = nil } }

    func enrol(
        key: UInt32 = 7, cgroup: Cgroup? = nil, inboundListeners: [TestSocket] = [],
        _ change: (inout Enrolment) -> Void = { _ in }
    ) throws {
        var enrolment = Enrolment(
            key: key, id: key == 7 ? "default/test" : "default/test-\(key)",
            cgroupPath: (cgroup ?? self.workload).path, namespace: self.inside,
            addresses: [TestSocket.parse("10.77.0.2:1").ip, TestSocket.parse("[fd01::2]:1").ip],
            inboundListeners: inboundListeners.map(\.fd))
        change(&enrolment)
        try self.steering.enrol(enrolment)
    }

    /// Another cgroup, a sibling of the workload's unless `parent` says otherwise; removed at the end.
    func cgroup(_ name: String, below parent: Cgroup? = nil) throws -> Cgroup {
        let path = (parent?.path ?? self.parent) + "/" + name
        try FileTree.makeDirectory(path)
        self.extra.withLock { $0.append(path) }
        return try Cgroup(path: path)
    }

    func counter(_ reason: Reason) -> UInt64 { self.steering.counters()[reason.name] ?? 0 }

    func entries(_ map: String) -> Int? { self.steering.mapStatus().first { $0.name == map }?.entries }

    // MARK: Sockets

    var inside: NetworkNamespace { self.namespace(\.inside) }
    var outside: NetworkNamespace { self.namespace(\.outside) }

    private func namespace(_ path: KeyPath<(inside: NetworkNamespace?, outside: NetworkNamespace?), NetworkNamespace?>)
        -> NetworkNamespace
    {
        self.namespaces.withLock { namespaces in
            guard let namespace = namespaces[keyPath: path] else { preconditionFailure("the namespaces are gone") }
            return namespace
        }
    }

    /// Sockets of the workload's processes, or of others.
    func applications(
        _ count: Int, family: CInt = AF_INET, type: __socket_type = SOCK_STREAM, cgroup: Cgroup? = nil,
        in namespace: NetworkNamespace? = nil, protocol number: CInt = 0
    ) throws -> [TestSocket] {
        try (cgroup ?? self.workload).add(pid: getpid())
        defer { try? self.proxy.add(pid: getpid()) }
        return try (namespace ?? self.inside).run { () throws(SystemError) in
            var sockets: [TestSocket] = []
            for _ in 0..<count {
                let fd = try systemCall("socket") { Glibc.socket(family, CInt(type.rawValue), number) }
                sockets.append(TestSocket(fd: fd, family: family))
            }
            return sockets
        }
    }

    func application(
        family: CInt = AF_INET, type: __socket_type = SOCK_STREAM, cgroup: Cgroup? = nil,
        in namespace: NetworkNamespace? = nil, protocol number: CInt = 0
    ) throws -> TestSocket {
        let sockets = try self.applications(
            1, family: family, type: type, cgroup: cgroup, in: namespace, protocol: number)
        return try #require(sockets.first)
    }

    /// A socket of the proxy in the workload's namespace.
    func proxySocket(family: CInt = AF_INET) throws -> TestSocket { try self.socket(in: self.inside, family: family) }

    /// A socket of somebody else on the network.
    func stranger(family: CInt = AF_INET) throws -> TestSocket { try self.socket(in: self.outside, family: family) }

    /// A socket of the test process itself, in any namespace.
    func socket(
        in namespace: NetworkNamespace, family: CInt = AF_INET, type: __socket_type = SOCK_STREAM
    ) throws -> TestSocket {
        try namespace.run { () throws(SystemError) in
            let fd = try systemCall("socket") { Glibc.socket(family, CInt(type.rawValue), 0) }
            return TestSocket(fd: fd, family: family)
        }
    }

    /// The proxy's listener for captured connects.
    func outboundListener(family: CInt = AF_INET) throws -> TestSocket {
        let listener = try self.proxySocket(family: family)
        try listener.listen(family == AF_INET ? "127.0.0.1:15001" : "[::]:15001")
        return listener
    }

    /// What the daemon learns about the next connection that `listener` accepts.
    func nextDestination(_ listener: TestSocket) throws -> OriginalDestination? {
        let accepted = try listener.accept().socket
        return withExtendedLifetime(accepted) { self.steering.originalDestination(of: accepted.fd) }
    }

    func inboundListener(family: CInt = AF_INET) throws -> TestSocket {
        let listener = try self.proxySocket(family: family)
        try listener.listen(family == AF_INET ? "0.0.0.0:15006" : "[::]:15006")
        return listener
    }

    /// Both listeners of a proxy that takes either family, the inbound one known to the kernel.
    func dualStackListeners() throws -> (outbound: TestSocket, inbound: TestSocket) {
        let listeners = (try self.outboundListener(family: AF_INET6), try self.inboundListener(family: AF_INET6))
        try self.steering.setInboundListeners(7, [listeners.1.fd])
        return listeners
    }

    /// Runs `ip` inside a namespace.
    static func ip(_ namespace: NetworkNamespace, _ arguments: String) throws {
        let status = try namespace.run { () throws(SystemError) -> CInt in
            let words = ["ip"] + arguments.split(separator: " ").map(String.init)
            var argv: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
            defer { for word in argv { free(word) } }
            var pid = pid_t()
            let code = posix_spawnp(&pid, "ip", nil, nil, &argv, environ)
            if code != 0 { throw SystemError(call: "posix_spawn", errno: code) }
            var status: CInt = 0
            _ = try systemCall("waitpid") { waitpid(pid, &status, 0) }
            return status
        }
        try #require(status == 0, "ip \(arguments)")
    }
}

extension Sandbox {
    /// Where the links of namespaces are pinned.
    var namespacePins: String { "/sys/fs/bpf/nodemesh/\(self.instance)/state/namespaces" }
}
