// SPDX-License-Identifier: Apache-2.0

import GRPCCore
import GRPCNIOTransportHTTP2Posix
import MeshAPI
import MeshConfiguration
import MeshDiscovery
import MeshIdentity
import MeshLinux
import MeshModel
import SwiftProtobuf

/// The control plane as it is reached over the network.
package struct GRPCControlPlane: ControlPlaneDialler {
    private let address: HostPort
    private let clock: any AgentClock

    package init(address: HostPort, clock: any AgentClock = SystemClock()) {
        self.address = address
        self.clock = clock
    }

    package func join(
        token: String, node: String, csrPEM: String, fingerprint: CertificateFingerprint
    ) async throws(ControlPlaneError) -> JoinGrant {
        let tls = ControlPlaneTLS(trust: .pinned(fingerprint), clock: self.clock)
        let address = self.address
        do {
            return try await withGRPCClient(transport: try self.transport(tls, presenting: nil, root: fingerprint)) {
                client in
                let service = Nodemesh_V1_NodeService.Client(wrapping: client)
                let answer = try await service.join(
                    .with { ($0.token, $0.nodeName, $0.csr) = (token, node, csrPEM) },
                    options: GRPCSession.options(timeout: .seconds(15)))
                return JoinGrant(chain: answer.certChain, bundle: answer.trustBundle)
            }
        } catch {
            let error = RPCFailure.translate(error, tls: tls, address: address)
            guard error.code == .refused else { throw error }
            throw ControlPlaneError(
                .tokenRefused,
                "\(error.message) (a token works once and for a limited time: make a new one with nodemeshctl)")
        }
    }

    package func withSession(
        _ credentials: NodeCredentials, _ body: @escaping @Sendable (any ControlPlaneSession) async throws -> Void
    ) async throws {
        let tls = ControlPlaneTLS(trust: .bundle(credentials.bundle), clock: self.clock)
        let address = self.address
        do {
            try await withGRPCClient(
                transport: try self.transport(tls, presenting: credentials.svid, root: credentials.svid.issuer)
            ) { client in
                try await body(GRPCSession(client: client, tls: tls, address: address))
            }
        } catch let error as ControlPlaneError {
            throw error
        } catch {
            throw RPCFailure.translate(error, tls: tls, address: address)
        }
    }

    /// - Parameter root: one that the control plane's certificate may lead to; during a rotation it has several.
    private func transport(
        _ tls: ControlPlaneTLS, presenting svid: SVID?, root: CertificateFingerprint
    ) throws -> HTTP2ClientTransport.Posix {
        let target: any ResolvableTarget =
            switch IPAddress(self.address.host) {
            case .some(let ip) where ip.isIPv4: .ipv4(address: self.address.host, port: Int(self.address.port))
            case .some: .ipv6(address: self.address.host, port: Int(self.address.port))
            case nil: .dns(host: self.address.host, port: Int(self.address.port))
            }
        return try HTTP2ClientTransport.Posix(
            target: target, transportSecurity: tls.security(presenting: svid),
            config: .defaults { config in
                // Also the server name of TLS, which must not be an address.
                config.http2.authority = "\(root.hint).\(CertificateAuthority.controlPlaneName)"
                config.connection.maxIdleTime = nil
                // A control plane that vanished without a word must be noticed.
                config.connection.keepalive = .init(
                    time: .seconds(20), timeout: .seconds(15), allowWithoutCalls: false)
                config.backoff.initial = .milliseconds(100)
                config.backoff.max = .seconds(15)
            })
    }
}

/// One gRPC client.
private struct GRPCSession: ControlPlaneSession {
    let client: GRPCClient<HTTP2ClientTransport.Posix>
    let tls: ControlPlaneTLS
    let address: HostPort

    static func options(timeout: Duration?) -> CallOptions {
        var options = CallOptions.defaults
        options.timeout = timeout
        options.waitForReady = false
        options.maxResponseMessageBytes = DiscoveryLimits().messageBytes
        return options
    }

    private func call<Answer: Sendable>(
        _ body: () async throws -> Answer
    ) async throws(ControlPlaneError) -> Answer {
        do {
            return try await body()
        } catch let error as ControlPlaneError {
            throw error
        } catch {
            throw RPCFailure.translate(error, tls: self.tls, address: self.address)
        }
    }

    func sign(
        csrPEM: String, for identity: SPIFFEID, validity: Duration?
    ) async throws(ControlPlaneError) -> [String] {
        try await self.call {
            let service = Istio_V1_Auth_IstioCertificateService.Client(wrapping: self.client)
            let answer = try await service.createCertificate(
                .with {
                    $0.csr = csrPEM
                    $0.validityDuration = validity?.components.seconds ?? 0
                    $0.metadata.fields["ImpersonatedIdentity"] = .init(stringValue: identity.description)
                }, options: Self.options(timeout: .seconds(15)))
            return answer.certChain
        }
    }

    func register(
        _ registration: NodeRegistration, generation: UInt64
    ) async throws(ControlPlaneError) -> RegistrationResult {
        try await self.call {
            let service = Nodemesh_V1_NodeService.Client(wrapping: self.client)
            let answer = try await service.syncWorkloads(
                .init(registration, generation: generation), options: Self.options(timeout: .seconds(15)))
            let refusals = answer.refusals.prefix(registration.workloads.count).map { refusal in
                (WorkloadID(namespace: refusal.namespace, name: refusal.name), String(refusal.reason.prefix(1024)))
            }
            return RegistrationResult(
                refusals: Dictionary(refusals, uniquingKeysWith: { $1 }),
                heartbeatInterval: Self.interval(answer.heartbeatIntervalSeconds))
        }
    }

    func heartbeat(generation: UInt64, report: TrustReport) async throws(ControlPlaneError) -> HeartbeatResult {
        try await self.call {
            let service = Nodemesh_V1_NodeService.Client(wrapping: self.client)
            let answer = try await service.heartbeat(
                .with {
                    $0.generation = generation
                    $0.seenRevision = report.revision
                    $0.trustedRoots = report.trusted.map(\.description).sorted()
                    $0.issuingRoots = report.issuing.map(\.description).sorted()
                }, options: Self.options(timeout: .seconds(10)))
            return HeartbeatResult(
                needsRegistration: answer.resync, heartbeatInterval: Self.interval(answer.heartbeatIntervalSeconds))
        }
    }

    func report(_ report: DecisionLog.Report, run: UInt64) async throws(ControlPlaneError) -> Duration? {
        try await self.call {
            let service = Nodemesh_V1_NodeService.Client(wrapping: self.client)
            let answer = try await service.reportConnections(
                .init(report, run: run, now: Int64(Clock.wall / 1_000_000_000)),
                options: Self.options(timeout: .seconds(10)))
            return Self.interval(answer.intervalSeconds)
        }
    }

    private static func interval(_ seconds: UInt32) -> Duration? {
        seconds == 0 ? nil : .seconds(min(seconds, 300))
    }

    func discover(
        first: [Envoy_Service_Discovery_V3_DeltaDiscoveryRequest],
        handle:
            @escaping @Sendable (Envoy_Service_Discovery_V3_DeltaDiscoveryResponse) throws ->
            Envoy_Service_Discovery_V3_DeltaDiscoveryRequest
    ) async throws(ControlPlaneError) {
        try await self.call {
            // Holds one reply for each response, which are read one by one: no more than the transport's own queue.
            let (requests, replies) = AsyncStream.makeStream(
                of: Envoy_Service_Discovery_V3_DeltaDiscoveryRequest.self)
            for request in first { replies.yield(request) }
            defer { replies.finish() }
            let service = Envoy_Service_Discovery_V3_AggregatedDiscoveryService.Client(wrapping: self.client)
            try await service.deltaAggregatedResources(
                options: Self.options(timeout: nil),
                requestProducer: { writer in
                    for await request in requests { try await writer.write(request) }
                },
                onResponse: { response in
                    defer { replies.finish() }
                    for try await message in response.messages { replies.yield(try handle(message)) }
                })
        }
    }
}

extension Nodemesh_V1_SyncWorkloadsRequest {
    init(_ registration: NodeRegistration, generation: UInt64) {
        self.init()
        self.nodeAddresses = registration.addresses.map(\.description)
        self.tunnelPort = UInt32(registration.tunnelPort)
        self.generation = generation
        self.locality = registration.locality.description
        self.workloads = registration.workloads.map { workload in
            .with {
                $0.namespace = workload.id.namespace
                $0.name = workload.id.name
                $0.serviceAccount = workload.serviceAccount
                $0.labels = workload.labels
                $0.addresses = workload.addresses.map(\.description)
                $0.hostNetwork = workload.isHostNetwork
                $0.ports = workload.ports.map(UInt32.init)
                $0.weight = workload.weight
            }
        }
    }
}
