// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshAPI
import MeshConfiguration
import MeshDiscovery
import MeshIdentity
import MeshModel
import NIOCore
import NIOPosix
import NIOSSL
import SwiftProtobuf
import Synchronization
import Testing

@testable import MeshAgent

/// Something at the control plane's address that proves to be it and then says what it must not, on loopback. Each is an
/// error with words, what the node knew stays, and the client goes on trying.
@Suite(.timeLimit(.minutes(2)))
struct HostileControlPlaneTests {
    /// What the server says to each connection.
    enum Manner: Sendable, CaseIterable {
        case silence, hangUp, randomBytes, httpOK, settingsThenRandom, endlessHeaders, goAway
    }

    private final class Talker: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        let manner: Manner
        init(_ manner: Manner) { self.manner = manner }

        private static let settings: [UInt8] = [0, 0, 0, 4, 0, 0, 0, 0, 0]

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch self.manner {
            case .silence: return
            case .hangUp: context.close(promise: nil)
            case .randomBytes: self.write(self.random(65_536), context)
            case .httpOK: self.write(Array("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".utf8), context)
            case .settingsThenRandom: self.write(Self.settings + self.random(16_384), context)
            case .endlessHeaders:
                // HEADERS that never end, of 16 KiB each.
                var frames = Self.settings
                for _ in 0..<64 { frames += [0, 0x40, 0, 1, 0, 0, 0, 0, 1] + [UInt8](repeating: 0x82, count: 16_384) }
                self.write(frames, context)
            case .goAway: self.write(Self.settings + [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2], context)
            }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

        private func random(_ count: Int) -> [UInt8] {
            (0..<count).map { _ in UInt8.random(in: .min ... .max) }
        }

        private func write(_ bytes: [UInt8], _ context: ChannelHandlerContext) {
            context.writeAndFlush(self.wrapOutboundOut(ByteBuffer(bytes: bytes)), promise: nil)
        }
    }

    private func serve(
        _ manner: Manner, _ authority: CertificateAuthority, isEncrypted: Bool = true,
        _ body: (HostPort) async throws -> Void
    ) async throws {
        let (certificate, key) = try authority.makeServerCertificate(names: [], validity: 3600, now: Date())
        var tls = TLSConfiguration.makeServerConfiguration(
            certificateChain: try certificate.chainPEM.map {
                .certificate(try NIOSSLCertificate(bytes: Array($0.utf8), format: .pem))
            }, privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(key.pem.utf8), format: .pem)))
        tls.applicationProtocols = ["h2"]
        let context = try NIOSSLContext(configuration: tls)
        let server = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if isEncrypted {
                        try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
                    }
                    try channel.pipeline.syncOperations.addHandler(Talker(manner))
                }
            }.bind(host: "127.0.0.1", port: 0).get()
        let port = try #require(server.localAddress?.port)
        do {
            try await body(HostPort(host: "127.0.0.1", port: UInt16(port)))
        } catch {
            try await server.close()
            throw error
        }
        try await server.close()
    }

    private func eventually(_ condition: () -> Bool) async throws -> Bool {
        let end = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < end {
            if condition() { return true }
            try await Task.sleep(for: .milliseconds(5))
        }
        return condition()
    }

    /// What the last run held.
    private func kept(_ authority: TestAuthority) throws -> DeltaClient {
        let settings = MeshSettings(
            trustDomain: "mesh.internal", prefixes: [], trustBundle: authority.bundle.pem,
            rootNamespace: "nodemesh-system")
        let machine = Mutex(DeltaClient(node: "n1", trustDomain: "mesh.internal"))
        _ = machine.withLock { $0.connected() }
        for type in ResourceType.allCases {
            let resource = type == .mesh ? try MeshResource.settings(settings).encoded() : nil
            _ = try machine.withLock { machine in
                try machine.received(
                    .with {
                        $0.typeURL = type.typeURL
                        $0.nonce = "1"
                        guard let resource else { return }
                        $0.resources = [
                            .with {
                                $0.name = resource.name
                                $0.version = resource.version
                                $0.resource.typeURL = type.typeURL
                                $0.resource.value = resource.payload
                            }
                        ]
                    })
            }
        }
        return machine.withLock { $0 }
    }

    @Test(arguments: Manner.allCases, [true, false])
    func `what it says is an error with words, and what was known stays`(
        _ manner: Manner, isEncrypted: Bool
    ) async throws {
        let authority = try TestAuthority(now: Date())
        let kept = try self.kept(authority)
        try await self.serve(manner, authority.authority, isEncrypted: isEncrypted) { address in
            let directory = TemporaryDirectory()
            let states = Mutex(0)
            // Twenty seconds of silence pass in less.
            let clock = HastyClock()
            let client = ControlPlaneClient(
                credentials: try await authority.credentials(now: Date()),
                store: NodeCredentialStore(directory: directory.path), dialler: GRPCControlPlane(address: address),
                clock: clock, logger: Logger(label: "test"), discovery: kept,
                handlers: .init(state: { _ in states.withLock { $0 += 1 } }, registered: { _ in }))
            client.setRegistration(NodeRegistration(addresses: [], tunnelPort: 15008, workloads: []))
            let running = Task { try await client.run() }
            #expect(try await self.eventually { client.status.lastError != nil })
            #expect(!client.status.isConnected)
            #expect(states.withLock { $0 } == 1)
            #expect(client.held?.state == kept.state)
            running.cancel()
            // It ends although the other side does not.
            try await running.value
        }
    }

    @Test func `a name that does not resolve is an error with words`() async throws {
        let authority = try TestAuthority(now: Date())
        let directory = TemporaryDirectory()
        // RFC 6761: never resolves.
        let client = ControlPlaneClient(
            credentials: try await authority.credentials(now: Date()),
            store: NodeCredentialStore(directory: directory.path),
            dialler: GRPCControlPlane(address: HostPort(host: "control.invalid", port: 15012)),
            logger: Logger(label: "test"), discovery: try self.kept(authority),
            handlers: .init(state: { _ in }, registered: { _ in }))
        let running = Task { try await client.run() }
        #expect(try await self.eventually { client.status.lastError?.contains("control.invalid") == true })
        #expect(client.held != nil)
        running.cancel()
        try await running.value
    }
}

/// Real time, ten times as fast for whoever sleeps.
private struct HastyClock: AgentClock {
    private let system = SystemClock()
    var now: Date { self.system.now }
    var uptime: Duration { self.system.uptime }
    func sleep(for duration: Duration) async throws { try await self.system.sleep(for: duration / 10) }
    func jitter() -> Double { 0 }
}
