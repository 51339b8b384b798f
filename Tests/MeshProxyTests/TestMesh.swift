// SPDX-License-Identifier: Apache-2.0
import Foundation
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
            node.proxy.update(
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
    let proxy: Proxy
    let listeners: [WorkloadID: WorkloadListeners]
    private let journal: Journal

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
        self.proxy = Proxy(configuration: configuration, hooks: hooks, logger: Logger(label: "test"))
        try self.proxy.start()
        var listeners: [WorkloadID: WorkloadListeners] = [:]
        for (index, id) in workloads.enumerated() {
            listeners[id] = try self.proxy.attach(id, key: UInt32(index + 1), namespace: nil)
        }
        self.listeners = listeners
    }
}
