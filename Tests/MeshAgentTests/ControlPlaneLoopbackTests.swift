// SPDX-License-Identifier: Apache-2.0

import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Logging
import MeshAPI
import MeshConfiguration
import MeshDiscovery
import MeshIdentity
import MeshModel
import NIOCore
import NIOSSL
import SwiftProtobuf
import Synchronization
import Testing

@testable import MeshAgent

/// A control plane on loopback, with real TLS and real gRPC, that knows one token and one workload.
private struct LoopbackControlPlane: Sendable {
    let authority: CertificateAuthority
    let registrations = Registrations()

    final class Registrations: Sendable { let seen = Mutex<[Nodemesh_V1_SyncWorkloadsRequest]>([]) }

    static func caller(_ context: ServerContext) throws -> SPIFFEID {
        let transport = context.transportSpecific as? HTTP2ServerTransport.Posix.Context
        guard let identity = try transport?.peerCertificate?.spiffeID() else {
            throw RPCError(code: .unauthenticated, message: "no certificate")
        }
        return identity
    }

    struct Nodes: Nodemesh_V1_NodeService.SimpleServiceProtocol {
        let plane: LoopbackControlPlane

        func join(
            request: Nodemesh_V1_JoinRequest, context: ServerContext
        ) async throws -> Nodemesh_V1_JoinResponse {
            guard request.token == "good" else {
                throw RPCError(code: .unauthenticated, message: "the token has been used")
            }
            let chain = try self.plane.authority.sign(
                csrPEM: request.csr, identity: try .node(request.nodeName), validity: 3600, now: Date()
            ).chainPEM
            let bundle = try self.plane.authority.trustBundle().pem
            return .with { ($0.certChain, $0.trustBundle) = (chain, bundle) }
        }

        func syncWorkloads(
            request: Nodemesh_V1_SyncWorkloadsRequest, context: ServerContext
        ) async throws -> Nodemesh_V1_SyncWorkloadsResponse {
            #expect(try LoopbackControlPlane.caller(context) == .node("n1"))
            self.plane.registrations.seen.withLock { $0.append(request) }
            return .init()
        }

        func heartbeat(
            request: Nodemesh_V1_HeartbeatRequest, context: ServerContext
        ) async throws -> Nodemesh_V1_HeartbeatResponse { .init() }

        func reportConnections(
            request: Nodemesh_V1_ReportConnectionsRequest, context: ServerContext
        ) async throws -> Nodemesh_V1_ReportConnectionsResponse { .init() }
    }

    struct Certificates: Istio_V1_Auth_IstioCertificateService.SimpleServiceProtocol {
        let plane: LoopbackControlPlane

        func createCertificate(
            request: Istio_V1_Auth_IstioCertificateRequest, context: ServerContext
        ) async throws -> Istio_V1_Auth_IstioCertificateResponse {
            _ = try LoopbackControlPlane.caller(context)
            let text = request.metadata.fields["ImpersonatedIdentity"]?.stringValue ?? ""
            guard let identity = SPIFFEID(text) else { throw RPCError(code: .invalidArgument, message: text) }
            let chain = try self.plane.authority.sign(
                csrPEM: request.csr, identity: identity, validity: 3600, now: Date()
            ).chainPEM
            return .with { $0.certChain = chain }
        }
    }

    func run(
        discovery: DiscoveryServer, _ body: @escaping @Sendable (HostPort) async throws -> Void
    ) async throws {
        let (certificate, key) = try self.authority.makeServerCertificate(names: [], validity: 3600, now: Date())
        var tls = TLSConfiguration.makeServerConfiguration(
            certificateChain: try certificate.chainPEM.map {
                .certificate(try NIOSSLCertificate(bytes: Array($0.utf8), format: .pem))
            }, privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(key.pem.utf8), format: .pem)))
        tls.certificateVerification = .optionalVerification
        tls.trustRoots = .certificates([
            try NIOSSLCertificate(bytes: Array(try self.authority.rootPEM().utf8), format: .pem)
        ])
        tls.applicationProtocols = ["h2"]
        let context = try NIOSSLContext(configuration: tls)
        var config = HTTP2ServerTransport.Posix.Config.defaults
        config.channelDebuggingCallbacks.onAcceptTCPConnection = { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context), position: .first)
            }
        }
        let server = GRPCServer(
            transport: HTTP2ServerTransport.Posix(
                address: .ipv4(host: "127.0.0.1", port: 0), transportSecurity: .plaintext, config: config),
            services: [Nodes(plane: self), Certificates(plane: self), discovery])
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.serve() }
            let port = try #require(try await server.listeningAddress?.ipv4?.port)
            try await body(HostPort(host: "127.0.0.1", port: UInt16(port)))
            discovery.shutDown()
            server.beginGracefulShutdown()
            try await group.waitForAll()
        }
    }
}

@Suite(.timeLimit(.minutes(1)))
struct ControlPlaneLoopbackTests {
    private func eventually(_ condition: () -> Bool) async throws -> Bool {
        let end = ContinuousClock.now + .seconds(20)
        while ContinuousClock.now < end {
            if condition() { return true }
            try await Task.sleep(for: .milliseconds(5))
        }
        return condition()
    }

    @Test func `a node joins, follows the mesh and gets a workload's certificate`() async throws {
        let plane = LoopbackControlPlane(
            authority: try CertificateAuthority.create(trustDomain: "mesh.internal", now: Date()))
        let discovery = DiscoveryServer(logger: Logger(label: "test")) { context in
            DiscoveryServer.Peer(name: "\(try LoopbackControlPlane.caller(context))")
        }
        let settings = MeshSettings(
            trustDomain: "mesh.internal", prefixes: [], trustBundle: try plane.authority.trustBundle().pem,
            rootNamespace: "nodemesh-system")
        try discovery.set([
            .mesh: [MeshResource.settings(settings).encoded()], .node: [], .authorization: [], .address: [],
        ])
        try await plane.run(discovery: discovery) { address in
            let dialler = GRPCControlPlane(address: address)
            let credentials = try await self.join(dialler, plane: plane)
            let states = Mutex<[MeshState]>([])
            let retry = Mutex<(@Sendable () -> Void)?>(nil)
            let directory = TemporaryDirectory()
            let client = ControlPlaneClient(
                credentials: credentials, store: NodeCredentialStore(directory: directory.path), dialler: dialler,
                logger: Logger(label: "test"),
                handlers: .init(
                    state: { state in states.withLock { $0.append(state) } },
                    registered: { _ in retry.withLock { $0 }?() }))
            let manager = CertificateManager(
                signer: client, bundle: { client.credentials.bundle }, logger: Logger(label: "test")
            ) { _ in }
            retry.withLock { $0 = { manager.retryFailed() } }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await client.run() }
                group.addTask { try await manager.run() }
                #expect(try await self.eventually { states.withLock { $0.last?.settings } == settings })
                #expect(client.status.isConnected)
                #expect(discovery.peers == ["spiffe://mesh.internal/node/n1"])
                try discovery.set(
                    .node,
                    to: [MeshResource.node(Node(name: "n2", addresses: [], tunnelPort: 15008)).encoded()])
                #expect(try await self.eventually { states.withLock { $0.last?.nodes.map(\.name) } == ["n2"] })

                let workload = WorkloadRegistration(
                    id: WorkloadID(namespace: "shop", name: "web"), serviceAccount: "web", labels: ["app": "web"],
                    addresses: [IPAddress(ipv4: 0x0a00_0002)])
                client.setRegistration(
                    NodeRegistration(
                        addresses: [IPAddress(ipv4: 0x0a00_0001)], tunnelPort: 15008, workloads: [workload]))
                #expect(try await self.eventually { plane.registrations.seen.withLock { $0.count } == 1 })
                #expect(plane.registrations.seen.withLock { $0[0].workloads.map(\.addresses) } == [["10.0.0.2"]])
                let identity = try SPIFFEID.account("web")
                manager.setIdentities([identity])
                #expect(try await self.eventually { manager.certificates[identity] != nil })
                group.cancelAll()
            }
        }
    }

    private func join(_ dialler: GRPCControlPlane, plane: LoopbackControlPlane) async throws -> NodeCredentials {
        let directory = TemporaryDirectory()
        let join = NodeJoin(store: NodeCredentialStore(directory: directory.path), dialler: dialler)
        let fingerprint = try plane.authority.fingerprint().description
        let other = try CertificateAuthority.create(trustDomain: "mesh.internal", now: Date()).fingerprint().description
        do throws(ControlPlaneError) {
            _ = try await join.join(node: "n1", token: "good", fingerprint: other)
            Issue.record("joined a control plane with another root")
        } catch {
            #expect(error.code == .untrustedServer)
            #expect(error.message.contains(other) && error.message.contains(fingerprint), "\(error)")
        }
        do throws(ControlPlaneError) {
            _ = try await join.join(node: "n1", token: "used", fingerprint: fingerprint)
            Issue.record("joined with a used token")
        } catch {
            #expect(error.code == .tokenRefused)
            #expect(error.message.contains("has been used"))
        }
        return try await join.join(node: "n1", token: "good", fingerprint: fingerprint)
    }

    @Test func `a control plane that is not there is said to be unreachable`() async throws {
        // Nothing listens on port 1 of loopback.
        let dialler = GRPCControlPlane(address: HostPort(host: "127.0.0.1", port: 1))
        let directory = TemporaryDirectory()
        let join = NodeJoin(store: NodeCredentialStore(directory: directory.path), dialler: dialler)
        do throws(ControlPlaneError) {
            _ = try await join.join(
                node: "n1", token: "t", fingerprint: "sha256:" + String(repeating: "0", count: 64))
            Issue.record("joined nobody")
        } catch {
            #expect(error.code == .unreachable)
            #expect(error.message.contains("127.0.0.1:1"))
        }
    }

    @Test func `a node's session is refused by a stranger and refuses one`() async throws {
        let plane = LoopbackControlPlane(
            authority: try CertificateAuthority.create(trustDomain: "mesh.internal", now: Date()))
        let discovery = DiscoveryServer(logger: Logger(label: "test")) { _ in .init(name: "x") }
        try await plane.run(discovery: discovery) { address in
            let stranger = try await TestAuthority(now: Date()).credentials(now: Date())
            let dialler = GRPCControlPlane(address: address)
            await #expect(throws: ControlPlaneError(.untrustedServer, "")) {
                try await dialler.withSession(stranger) { session in
                    _ = try await session.heartbeat(
                        generation: 1, report: TrustReport())
                }
            }
            // Trusts the server, but its own certificate is worth nothing there.
            var mixed = stranger
            mixed.bundle = try plane.authority.trustBundle()
            await #expect(throws: ControlPlaneError.self) {
                try await dialler.withSession(mixed) { session in
                    _ = try await session.heartbeat(
                        generation: 1, report: TrustReport())
                }
            }
        }
    }
}
