// SPDX-License-Identifier: Apache-2.0

import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Logging
import MeshAPI
import MeshAdminAPI
import MeshIdentity
import MeshModel
import ServiceLifecycle
import SwiftProtobuf
import Synchronization
import Testing

@testable import MeshControl

/// A node's whole life over TLS on loopback.
@Suite struct RoundTripTests {
    private typealias Transport = HTTP2ClientTransport.Posix

    private func client<Result: Sendable>(
        port: Int, authority: CertificateAuthority, chain: [String] = [], key: IdentityKey? = nil,
        _ body: @escaping @Sendable (GRPCClient<HTTP2ClientTransport.Posix>) async throws -> Result
    ) async throws -> Result {
        let root = Array(try authority.rootPEM().utf8)
        let transport = try Transport(
            target: .ipv4(address: "127.0.0.1", port: port),
            transportSecurity: .tls { tls in
                tls.trustRoots = .certificates([.bytes(root, format: .pem)])
                tls.serverCertificateVerification = .noHostnameVerification
                tls.certificateChain = chain.map { .bytes(Array($0.utf8), format: .pem) }
                tls.privateKey = key.map { .bytes(Array($0.pem.utf8), format: .pem) }
            })
        return try await withGRPCClient(transport: transport) { try await body($0) }
    }

    private func serving(
        _ fixture: Fixture, _ body: @escaping @Sendable (Int, ServiceGroup) async throws -> Void
    ) async throws {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let group = ServiceGroup(services: try fixture.plane.services(), logger: logger)
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            let address = try await fixture.plane.nodeAddress
            let port = try #require(address.split(separator: ":").last.flatMap { Int($0) }, "\(address)")
            do {
                try await body(port, group)
            } catch {
                await group.triggerGracefulShutdown()
                throw error
            }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }

    private static func code(_ body: () async throws -> some Any) async -> RPCError.Code? {
        do {
            _ = try await body()
            return nil
        } catch {
            return (error as? RPCError)?.code
        }
    }

    @Test(.timeLimit(.minutes(1))) func aNodeJoinsRegistersAndSeesTheMesh() async throws {
        let fixture = try await Fixture()
        let authority = fixture.plane.authority
        let token = try await fixture.plane.operators.createJoinToken(.init(node: "n1")).token
        _ = try await fixture.plane.operators.apply(.service("web"), dryRun: false)
        let key = IdentityKey()
        let request = try fixture.joinRequest("n1", token: token, key: key)
        try await self.serving(fixture) { port, _ in
            let joined = try await self.client(port: port, authority: authority) { client in
                let nodes = Nodemesh_V1_NodeService.Client(wrapping: client)
                // Nothing but joining is possible without a certificate.
                #expect(await Self.code { try await nodes.syncWorkloads(sync([])) } == .unauthenticated)
                #expect(await Self.code { try await nodes.heartbeat(.init()) } == .unauthenticated)
                let authorities = Istio_V1_Auth_IstioCertificateService.Client(wrapping: client)
                #expect(await Self.code { try await authorities.createCertificate(.init()) } == .unauthenticated)
                #expect(await Self.code { try await Self.firstAddresses(client) } == .unauthenticated)
                return try await nodes.join(request)
            }
            try await self.client(port: port, authority: authority, chain: joined.certChain, key: key) { client in
                let nodes = Nodemesh_V1_NodeService.Client(wrapping: client)
                var beat = Nodemesh_V1_HeartbeatRequest()
                #expect(try await nodes.heartbeat(beat).resync)
                let answer = try await nodes.syncWorkloads(sync([registration("web", address: "10.0.0.1")]))
                #expect(answer.refusals.isEmpty)
                beat.generation = 1
                #expect(try await nodes.heartbeat(beat).resync == false)

                let authorities = Istio_V1_Auth_IstioCertificateService.Client(wrapping: client)
                var wanted = Istio_V1_Auth_IstioCertificateRequest()
                let identity = try #require(SPIFFEID("spiffe://mesh.internal/ns/shop/sa/web"))
                wanted.csr = try SigningRequest.make(key: IdentityKey(), identity: identity)
                wanted.metadata.fields["ImpersonatedIdentity"] = .init(stringValue: identity.description)
                #expect(try await authorities.createCertificate(wanted).certChain.count == 2)

                let names = try await Self.firstAddresses(client, until: "nodemesh/Workload/shop/web")
                #expect(names.contains("shop/web.shop.mesh.internal"))
            }
        }
    }

    @Test(.timeLimit(.minutes(1))) func deletingANodeEndsItsStream() async throws {
        let fixture = try await Fixture()
        let authority = fixture.plane.authority
        let token = try await fixture.plane.operators.createJoinToken(.init(node: "n1")).token
        let key = IdentityKey()
        let request = try fixture.joinRequest("n1", token: token, key: key)
        let operators = fixture.plane.operators
        try await self.serving(fixture) { port, _ in
            let joined = try await self.client(port: port, authority: authority) { client in
                try await Nodemesh_V1_NodeService.Client(wrapping: client).join(request)
            }
            try await self.client(port: port, authority: authority, chain: joined.certChain, key: key) { client in
                let code = await Self.code {
                    try await Self.firstAddresses(client, until: "never there") {
                        try await operators.deleteNode("n1")
                    }
                }
                #expect(code == .unauthenticated)
                let nodes = Nodemesh_V1_NodeService.Client(wrapping: client)
                #expect(await Self.code { try await nodes.heartbeat(.init()) } == .unauthenticated)
            }
        }
    }

    @Test(.timeLimit(.minutes(1))) func aStopEndsOpenStreams() async throws {
        let fixture = try await Fixture()
        let authority = fixture.plane.authority
        let token = try await fixture.plane.operators.createJoinToken(.init(node: "n1")).token
        let key = IdentityKey()
        let request = try fixture.joinRequest("n1", token: token, key: key)
        let begin = Mutex<ContinuousClock.Instant?>(nil)
        try await self.serving(fixture) { port, group in
            let joined = try await self.client(port: port, authority: authority) { client in
                try await Nodemesh_V1_NodeService.Client(wrapping: client).join(request)
            }
            try await self.client(port: port, authority: authority, chain: joined.certChain, key: key) { client in
                _ = try? await Self.firstAddresses(client, until: "never there") {
                    begin.withLock { $0 = .now }
                    await group.triggerGracefulShutdown()
                }
            }
        }
        #expect(ContinuousClock.now - (try #require(begin.withLock { $0 })) < .seconds(20))
    }

    @Test(.timeLimit(.minutes(1))) func aStrangersCertificateDoesNotConnect() async throws {
        let fixture = try await Fixture()
        let other = try CertificateAuthority.create(trustDomain: "mesh.internal", now: .now)
        let key = IdentityKey()
        let identity = try #require(SPIFFEID("spiffe://mesh.internal/node/n1"))
        let stranger = try other.sign(
            csrPEM: try SigningRequest.make(key: key, identity: identity), identity: identity, validity: 600, now: .now)
        try await self.serving(fixture) { port, _ in
            let code = try await self.client(
                port: port, authority: fixture.plane.authority, chain: stranger.chainPEM, key: key
            ) { client in
                let nodes = Nodemesh_V1_NodeService.Client(wrapping: client)
                var options = CallOptions.defaults
                options.timeout = .seconds(2)
                return await Self.code { try await nodes.heartbeat(.init(), options: options) }
            }
            #expect(code == .unavailable || code == .deadlineExceeded)
        }
    }

    /// Subscribes to addresses and collects their names until one is there; `afterFirst` runs after the first answer.
    private static func firstAddresses(
        _ client: GRPCClient<HTTP2ClientTransport.Posix>, until name: String? = nil,
        afterFirst: @escaping @Sendable () async throws -> Void = {}
    ) async throws -> Set<String> {
        let discovery = Envoy_Service_Discovery_V3_AggregatedDiscoveryService.Client(wrapping: client)
        let (acks, ack) = AsyncStream.makeStream(of: String.self)
        let type = "type.googleapis.com/istio.workload.Address"
        return try await discovery.deltaAggregatedResources(
            requestProducer: { writer in
                var request = Envoy_Service_Discovery_V3_DeltaDiscoveryRequest()
                request.typeURL = type
                try await writer.write(request)
                for await nonce in acks {
                    request.responseNonce = nonce
                    try await writer.write(request)
                }
            },
            onResponse: { response in
                defer { ack.finish() }
                var names: Set<String> = []
                for try await message in response.messages {
                    names.formUnion(message.resources.map(\.name))
                    ack.yield(message.nonce)
                    if let name, names.contains(name) { return names }
                    try await afterFirst()
                }
                return names
            })
    }
}
