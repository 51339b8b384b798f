// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import Logging
import MeshIdentity
import MeshLinux
import MeshModel
import MeshTunnel
import Synchronization
import Testing

@testable import MeshProxy

/// A mesh of two nodes in this process, on loopback: workload `prod/client` on node `a`, `prod/server` on node `b` and
/// `prod/neighbour` on node `a` too. Applications listen on 127.0.0.1, where each test says.
final class TestMesh: Sendable {
    static let client = WorkloadID(namespace: "prod", name: "client")
    static let server = WorkloadID(namespace: "prod", name: "server")
    static let neighbour = WorkloadID(namespace: "prod", name: "neighbour")
    static let loopback = IPAddress(ipv4: 0x7f00_0001)

    let authority: CertificateAuthority
    let a: TestNode
    let b: TestNode

    init(
        loops: Int = 1, _ configure: (inout ProxyConfiguration) -> Void = { _ in }
    ) throws {
        self.authority = try CertificateAuthority.create(trustDomain: "mesh.test", now: Date())
        var configuration = ProxyConfiguration(
            loops: loops, tunnelListener: SocketAddress(ip: Self.loopback, port: 0))
        configuration.outboundListener = SocketAddress(ip: Self.loopback, port: 0)
        configuration.outboundListener6 = nil
        configuration.inboundListener = SocketAddress(ip: Self.loopback, port: 0)
        configure(&configuration)
        self.a = try TestNode("a", configuration, [Self.client, Self.neighbour])
        self.b = try TestNode("b", configuration, [Self.server])
    }

    deinit {
        self.a.proxy.stop()
        self.b.proxy.stop()
    }

    func identity(_ id: WorkloadID) throws -> TLSIdentity {
        let spiffe = try #require(Self.workload(id, on: "").identity)
        let key = IdentityKey()
        let issued = try self.authority.sign(
            csrPEM: try SigningRequest.make(key: key, identity: spiffe), identity: spiffe, validity: 3600, now: Date())
        return try TLSIdentity(
            certificateChainPEM: issued.chainPEM.joined(separator: "\n"), privateKeyPEM: key.pem,
            trustBundlePEM: try self.authority.rootPEM())
    }

    static func workload(_ id: WorkloadID, on node: String, at address: IPAddress? = nil) -> Workload {
        Workload(
            id: id, addresses: address.map { [$0] } ?? [], node: node, serviceAccount: id.name,
            trustDomain: "mesh.test")
    }

    /// Gives both nodes a view in which connections to 127.0.0.1 belong to `destination`. The certificates are new ones
    /// but for those in `known`.
    func update(
        destination: WorkloadID = TestMesh.server, identities: [WorkloadID] = [TestMesh.client, TestMesh.server],
        known given: [WorkloadID: TLSIdentity]? = nil, policies: [AuthorizationPolicy] = [],
        change: (inout [Workload], inout [Service], inout [Node]) -> Void = { _, _, _ in }
    ) throws {
        var workloads = [
            Self.workload(Self.client, on: "a", at: IPAddress("10.0.0.1")),
            Self.workload(Self.server, on: "b", at: destination == Self.server ? Self.loopback : nil),
            Self.workload(Self.neighbour, on: "a", at: destination == Self.neighbour ? Self.loopback : nil),
        ]
        var services: [Service] = []
        var nodes = [try self.a.node(), try self.b.node()]
        change(&workloads, &services, &nodes)
        let settings = MeshSettings(
            trustDomain: "mesh.test", prefixes: [], trustBundle: [], rootNamespace: "nodemesh-system")
        var known: [WorkloadID: TLSIdentity] = [:]
        for id in identities { known[id] = try given?[id] ?? self.identity(id) }
        for node in [self.a, self.b] {
            node.update(
                ProxyView(
                    snapshot: MeshSnapshot(
                        settings: settings, localNode: node.name, workloads: workloads, services: services,
                        nodes: nodes, policies: policies),
                    identities: known))
        }
    }

    /// A connection of the client's application to `address`, captured.
    func dial(_ address: SocketAddress) throws -> Wire {
        self.a.setDestination(address)
        let listener = try #require(self.a.listeners[Self.client]).outbound
        return try Wire(to: listener)
    }

    /// A policy that denies everything to the server.
    static func denyAll() -> AuthorizationPolicy {
        AuthorizationPolicy(
            id: NamespacedName(namespace: "prod", name: "deny-all"), scope: .namespace, action: .deny,
            rules: [AuthorizationPolicy.Rule(clauses: [])])
    }
}

final class TestNode: Sendable {
    let name: String
    private let journal: Journal
    private let workloads: [WorkloadID]
    private let hooks: ProxyHooks
    private let current: Mutex<Current>

    /// What takes its turn with each hand-over.
    private struct Current {
        var proxy: Proxy
        var configuration: ProxyConfiguration
        var listeners: [WorkloadID: WorkloadListeners] = [:]
        var view: ProxyView?
    }

    var proxy: Proxy { self.current.withLock { $0.proxy } }
    var listeners: [WorkloadID: WorkloadListeners] { self.current.withLock { $0.listeners } }

    func update(_ view: ProxyView) {
        self.current.withLock { $0.view = view }
        self.proxy.update(view)
    }

    /// What captured connections dial from now on.
    func setDestination(_ address: SocketAddress?) { self.journal.destination.withLock { $0 = address } }

    /// In order of ending.
    var closedRecords: [ConnectionRecord] { self.journal.closed.withLock { $0 } }
    var opened: [ConnectionRecord] { self.journal.opened.withLock { $0 } }
    /// The addresses that applications were to see.
    var marked: [SocketAddress] { self.journal.marked.withLock { $0 } }

    func node() throws -> Node {
        let tunnel = try #require(self.proxy.tunnelEndpoint)
        return Node(name: self.name, addresses: [tunnel.ip], tunnelPort: tunnel.port)
    }

    /// The records of ended connections, once there are `count`, in order of connecting.
    func closed(_ count: Int) async throws -> [ConnectionRecord] {
        for _ in 0..<1000 {
            let records = self.journal.closed.withLock { $0 }
            if records.count >= count { return records.sorted { $0.id < $1.id } }
            try await Task.sleep(for: .milliseconds(10))
        }
        throw ProxyError("only \(self.journal.closed.withLock { $0 }) were closed, not \(count)")
    }

    func waitUntilOpened(_ count: Int) async throws {
        for _ in 0..<1000 where self.opened.count < count { try await Task.sleep(for: .milliseconds(10)) }
        #expect(self.opened.count >= count)
    }

    private final class Journal: Sendable {
        let destination = Mutex<SocketAddress?>(nil)
        let opened = Mutex<[ConnectionRecord]>([])
        let closed = Mutex<[ConnectionRecord]>([])
        let adopted = Mutex<[ConnectionRecord]>([])
        let marked = Mutex<[SocketAddress]>([])
        let cannotMark = Mutex(false)
        let strayKey = Mutex<UInt32?>(nil)
        let owners = Mutex<[UInt16: UInt32]>([:])
        let inboundOrigin = Mutex<(workload: UInt32, source: UInt32?)?>(nil)
    }

    /// From now on the kernel takes no client's address.
    func refuseMarks() { self.journal.cannotMark.withLock { $0 = true } }

    /// From now on every captured connection is another workload's.
    func stray(to key: UInt32) { self.journal.strayKey.withLock { $0 = key } }

    /// From now on these ports are these workloads', where a namespace is shared.
    func listen(_ owners: [UInt16: UInt32]) { self.journal.owners.withLock { $0 = owners } }

    /// From now on the kernel says so of every connection that an inbound listener accepts.
    func steer(to workload: UInt32, from source: UInt32? = nil) {
        self.journal.inboundOrigin.withLock { $0 = (workload, source) }
    }

    init(_ name: String, _ configuration: ProxyConfiguration, _ workloads: [WorkloadID]) throws {
        self.name = name
        let journal = Journal()
        self.journal = journal
        var hooks = ProxyHooks(
            originalDestination: { _ in
                journal.destination.withLock { $0 }.map { ($0, journal.strayKey.withLock { $0 ?? 1 }) }
            },
            inboundOrigin: { _ in journal.inboundOrigin.withLock { $0 } },
            markUpstream: { _, client in
                journal.marked.withLock { $0.append(client) }
                return !journal.cannotMark.withLock { $0 }
            },
            onOpened: { record in journal.opened.withLock { $0.append(record) } },
            onClosed: { record in journal.closed.withLock { $0.append(record) } })
        hooks.portOwner = { _, port in journal.owners.withLock { $0[port] } }
        hooks.inboundDestination = { _ in journal.destination.withLock { $0 } }
        hooks.onAdopted = { record in journal.adopted.withLock { $0.append(record) } }
        self.hooks = hooks
        self.workloads = workloads
        // As the daemon does: splicing into a socket that broke raises it.
        ProcessSignals.ignoreBrokenPipe()
        let proxy = Proxy(configuration: configuration, hooks: hooks, logger: Logger(label: "test"))
        self.current = Mutex(Current(proxy: proxy, configuration: configuration))
        try proxy.start()
        try self.attach(workloads)
    }

    /// What the present data plane has taken over.
    var adopted: [ConnectionRecord] { self.journal.adopted.withLock { $0 } }

    private func attach(_ workloads: [WorkloadID]) throws {
        for id in workloads {
            let key = UInt32((self.workloads.firstIndex(of: id) ?? 0) + 1)
            let listeners = try self.proxy.attach(id, key: key, namespace: nil)
            self.current.withLock { $0.listeners[id] = listeners }
        }
    }

    // MARK: - Handing over

    /// What each side of a hand-over counted.
    struct HandOver: Sendable {
        var given = HandOverSummary()
        var taken = HandOverSummary()
        var closed = HandOverSummary()
        var byteCount = 0
    }

    /// Replaces the node's data plane by another one, as another process would: with a copy of the bytes and of the
    /// descriptors.
    ///
    /// - Parameters:
    ///   - workloads: those that are enrolled again.
    ///   - isCrash: the old one ends without a word, and only what was kept for that case outlives it.
    ///   - change: the new data plane's configuration.
    ///   - between: runs while there is no data plane.
    @discardableResult
    func replace(
        workloads: [WorkloadID]? = nil, view: ProxyView? = nil, settle: Duration = .seconds(5), isCrash: Bool = false,
        change: @escaping @Sendable (inout ProxyConfiguration) -> Void = { _ in },
        between: @escaping @Sendable () throws -> Void = {}
    ) async throws -> HandOver {
        self.journal.adopted.withLock { $0 = [] }
        let kept = isCrash ? await self.proxy.keptState(limit: 1000).state : nil
        var handOver = try await onThread { [self] in
            var handOver = HandOver()
            let whole = isCrash ? nil : KeptState(try self.proxy.freeze(settle: settle))
            guard let holder = kept ?? whole else { return handOver }
            if isCrash { self.proxy.die() }
            handOver.given = holder.state.summary
            handOver.byteCount = holder.state.byteCount
            try between()
            var configuration = self.current.withLock { $0.configuration }
            change(&configuration)
            let next = Proxy(configuration: configuration, hooks: self.hooks, logger: Logger(label: "test"))
            let copies = holder.state.descriptors.map { fcntl($0, F_DUPFD_CLOEXEC, 0) }
            let copy = holder.state.withUnsafeBytes { ProxyState(bytes: $0, descriptors: copies) }
            handOver.taken = try next.start(adopting: copy)
            let view = self.current.withLock { current in
                current.proxy = next
                current.configuration = configuration
                return view ?? current.view
            }
            try self.attach(workloads ?? self.workloads)
            if let view { self.update(view) }
            return handOver
        }
        handOver.closed = await self.proxy.adoptionComplete()
        return handOver
    }
}

extension Proxy {
    /// Ends as if the process were killed between two turns of its loops: sockets and pipes are just closed.
    func die() {
        let state = self.state.withLock { state in
            defer { state = State(isStopped: true) }
            return state
        }
        for loop in state.loops { loop.submit { $0.halt() } }
        for loop in state.loops {
            loop.join()
            let core = loop.coreAfterEnd
            core.forEachConnection { connection in
                for index in [connection.index, connection.server] {
                    let side = core.sides[index]
                    if side.pointee.fd >= 0 { Linux.close(side.pointee.fd) }
                    side.pointee.connection?.release()
                    side.pointee.connection = nil
                }
            }
        }
        state.workers?.stop()
    }
}
