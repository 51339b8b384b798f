// SPDX-License-Identifier: Apache-2.0
import Glibc
import Logging
import MeshLinux
import MeshModel
import MeshProxy
import MeshTunnel
import Synchronization

/// Two nodes in this process: workload `prod/client` on `a`, `prod/server` on `b`. Applications listen on 127.0.0.1.
final class Mesh: Sendable {
    static let client = WorkloadID(namespace: "prod", name: "client")
    static let server = WorkloadID(namespace: "prod", name: "server")
    static let loopback = IPAddress(ipv4: 0x7f00_0001)

    let credentials: Credentials
    let clientLeaf: Credentials.Leaf
    let serverLeaf: Credentials.Leaf
    let a: Node
    let b: Node

    /// What the nodes go on with.
    struct States: ~Copyable {
        var a: ProxyState?
        var b: ProxyState?
    }

    init(
        _ engines: (ProxyConfiguration.Engine, ProxyConfiguration.Engine) = (.kernel, .kernel),
        suite: CipherSuite = .aes128GCM, adopting states: consuming States = States(),
        _ configure: (inout ProxyConfiguration) -> Void = { _ in }
    ) throws {
        self.credentials = try Credentials()
        self.clientLeaf = try self.credentials.leaf("client")
        self.serverLeaf = try self.credentials.leaf("server")
        var configuration = ProxyConfiguration(
            loops: 1, tunnelListener: SocketAddress(ip: Self.loopback, port: 0))
        configuration.outboundListener = SocketAddress(ip: Self.loopback, port: 0)
        configuration.outboundListener6 = nil
        configuration.inboundListener = SocketAddress(ip: Self.loopback, port: 0)
        configure(&configuration)
        configuration.engine = engines.0
        self.a = try Node("a", configuration, Self.client, adopting: states.a.take())
        configuration.engine = engines.1
        self.b = try Node("b", configuration, Self.server, adopting: states.b.take())
        try self.update(suite: suite)
        Self.latest.withLock { $0 = (self.a.journal, self.b.journal) }
    }

    private static let latest = Mutex<(Node.Journal, Node.Journal)?>(nil)

    /// How the connections of the latest mesh ended.
    static var diagnosis: String {
        guard let (a, b) = Self.latest.withLock({ $0 }) else { return "" }
        return [a, b].map { journal in
            journal.closed.withLock { $0 }
                .map { "\($0.reason?.rawValue ?? "") \($0.engine?.rawValue ?? "") \($0.detail ?? "")" }
                .joined(separator: "; ")
        }.joined(separator: " | ")
    }

    deinit {
        self.a.proxy.stop()
        self.b.proxy.stop()
    }

    /// - Parameter tunnel: where node `a` finds node `b`; nil: where it is.
    func update(suite: CipherSuite = .aes128GCM, tunnel: SocketAddress? = nil) throws {
        guard let endpoint = tunnel ?? self.b.proxy.tunnelEndpoint else { throw Wrong("no tunnel listener") }
        let identities = [
            Self.client: try self.credentials.identity(self.clientLeaf, [suite]),
            Self.server: try self.credentials.identity(self.serverLeaf, CipherSuite.allCases),
        ]
        let workloads = [
            Workload(
                id: Self.client, addresses: [IPAddress(ipv4: 0x0a00_0001)], node: "a", serviceAccount: "client",
                trustDomain: "mesh.test"),
            Workload(
                id: Self.server, addresses: [Self.loopback], node: "b", serviceAccount: "server",
                trustDomain: "mesh.test"),
        ]
        let settings = MeshSettings(
            trustDomain: "mesh.test", prefixes: [], trustBundle: [], rootNamespace: "nodemesh-system")
        for node in [self.a, self.b] {
            let snapshot = MeshSnapshot(
                settings: settings, localNode: node.name, workloads: workloads, services: [],
                nodes: [
                    MeshModel.Node(name: "a", addresses: [Self.loopback], tunnelPort: 1),
                    MeshModel.Node(name: "b", addresses: [endpoint.ip], tunnelPort: endpoint.port),
                ], policies: [])
            node.update(ProxyView(snapshot: snapshot, identities: identities))
        }
    }

    /// A connection of the client's application to `address`.
    func dial(_ address: SocketAddress) throws -> Wire {
        self.a.journal.destination.withLock { $0 = address }
        return try Wire(to: self.a.outbound)
    }

    /// One node's proxy and what it reported.
    final class Node: Sendable {
        let name: String
        let outbound: SocketAddress
        let journal: Journal
        /// At the start.
        let adopted: HandOverSummary
        private let workload: WorkloadID
        private let make: @Sendable () -> Proxy
        private let current: Mutex<(proxy: Proxy, view: ProxyView?)>

        var proxy: Proxy { self.current.withLock { $0.proxy } }

        final class Journal: Sendable {
            let destination = Mutex<SocketAddress?>(nil)
            let closed = Mutex<[ConnectionRecord]>([])
        }

        init(
            _ name: String, _ configuration: ProxyConfiguration, _ workload: WorkloadID,
            adopting state: consuming ProxyState? = nil
        ) throws {
            let journal = Journal()
            var hooks = ProxyHooks(
                originalDestination: { _ in journal.destination.withLock { $0 }.map { ($0, 1) } },
                onClosed: { record in journal.closed.withLock { $0.append(record) } })
            hooks.inboundDestination = { _ in journal.destination.withLock { $0 } }
            self.name = name
            self.journal = journal
            self.workload = workload
            self.make = { [hooks] in
                Proxy(
                    configuration: configuration, hooks: hooks,
                    logger: Logger(label: name) { _ in SwiftLogNoOpLogHandler() })
            }
            let proxy = self.make()
            self.current = Mutex((proxy, nil))
            self.adopted = try proxy.start(adopting: state)
            self.outbound = try proxy.attach(workload, key: 1, namespace: nil).outbound
        }

        func update(_ view: ProxyView) {
            self.current.withLock { $0.view = view }
            self.proxy.update(view)
        }

        /// Has another data plane take over.
        func replace() async throws -> HandOverSummary {
            let next = self.make()
            try next.prepare()
            let summary = try next.start(adopting: try self.proxy.freeze())
            let view = self.current.withLock { current in
                current.proxy = next
                return current.view
            }
            try next.attach(self.workload, key: 1, namespace: nil)
            if let view { next.update(view) }
            let lost = await next.adoptionComplete().closed.merging(summary.closed, uniquingKeysWith: +)
            try expect(lost.isEmpty, "\(self.name): lost \(lost)")
            return summary
        }

        /// The records of ended connections, once there are `count`.
        func closed(_ count: Int = 1) throws -> [ConnectionRecord] {
            for _ in 0..<2000 {
                let records = self.journal.closed.withLock { $0 }
                if records.count >= count { return records }
                usleep(10_000)
            }
            throw Wrong(
                "\(self.name): only \(self.journal.closed.withLock { $0.count }) connections ended, not \(count)")
        }

        /// The next connection to end must end so.
        func expectClosed(_ reason: CloseReason, engine: TunnelEngine? = nil, detail: String? = nil) throws {
            let record = try self.closed()[0]
            try expect(
                record.reason == reason,
                "\(self.name): ended as \(String(describing: record.reason)), not \(reason): \(record.detail ?? "")")
            if let engine {
                try expect(record.engine == engine, "\(self.name): engine \(String(describing: record.engine))")
            }
            if let detail {
                try expect(record.detail?.contains(detail) == true, "\(self.name): said '\(record.detail ?? "")'")
            }
        }

        /// Nothing is lent any more.
        func expectIdle() async throws {
            var statistics = await self.proxy.statistics()
            for _ in 0..<200 where statistics.connections > 0 {
                usleep(10_000)
                statistics = await self.proxy.statistics()
            }
            try expect(
                statistics.connections == 0 && statistics.buffersLent == 0 && statistics.pipesLent == 0,
                "\(self.name): left \(statistics)")
        }
    }
}

/// Kernel settings for one scenario.
func sysctl(_ name: String, _ value: String) throws {
    let path = "/proc/sys/\(name.replacing(".", with: "/"))"
    let fd = open(path, O_WRONLY)
    defer { close(fd) }
    let bytes = Array(value.utf8)
    if fd < 0 || Glibc.write(fd, bytes, bytes.count) != bytes.count { throw Wrong("cannot write \(path)") }
}

/// Small send buffers, as on a busy host: what shows the traps of kernel TLS.
func withSmallBuffers<T>(_ body: () async throws -> T) async throws -> T {
    try sysctl("net.ipv4.tcp_wmem", "4096 16384 32768")
    defer { try? sysctl("net.ipv4.tcp_wmem", "4096 16384 4194304") }
    return try await body()
}
