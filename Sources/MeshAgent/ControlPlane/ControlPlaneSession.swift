// SPDX-License-Identifier: Apache-2.0

import MeshAPI
import MeshIdentity
import MeshModel

/// What a join token was exchanged for, not yet checked.
package struct JoinGrant: Sendable {
    /// PEM, leaf first.
    package var chain: [String]
    /// PEM roots.
    package var bundle: [String]

    package init(chain: [String], bundle: [String]) {
        self.chain = chain
        self.bundle = bundle
    }
}

/// A workload this node runs.
package struct WorkloadRegistration: Sendable, Hashable {
    package var id: WorkloadID
    package var serviceAccount: String
    package var labels: [String: String]
    package var addresses: [IPAddress]
    package var isHostNetwork: Bool
    /// Where it listens; told only of a workload that shares its address.
    package var ports: [UInt16]
    /// Share in endpoint choice.
    package var weight: UInt32

    package init(
        id: WorkloadID, serviceAccount: String, labels: [String: String], addresses: [IPAddress],
        isHostNetwork: Bool = false, ports: [UInt16] = [], weight: UInt32 = 1
    ) {
        self.id = id
        self.serviceAccount = serviceAccount
        self.labels = labels
        self.addresses = addresses
        self.isHostNetwork = isHostNetwork
        self.ports = ports
        self.weight = weight
    }
}

/// Everything this node says about itself.
package struct NodeRegistration: Sendable, Hashable {
    /// On which peers reach the tunnel port.
    package var addresses: [IPAddress]
    package var tunnelPort: UInt16
    package var locality: Locality
    package var workloads: [WorkloadRegistration]

    package init(
        addresses: [IPAddress], tunnelPort: UInt16, locality: Locality = .init(), workloads: [WorkloadRegistration]
    ) {
        self.addresses = addresses
        self.tunnelPort = tunnelPort
        self.locality = locality
        self.workloads = workloads
    }
}

/// The answer to a registration.
package struct RegistrationResult: Sendable, Hashable {
    /// Workloads that were not registered, and why.
    package var refusals: [WorkloadID: String]
    /// nil: the control plane did not say.
    package var heartbeatInterval: Duration?

    package init(refusals: [WorkloadID: String], heartbeatInterval: Duration?) {
        self.refusals = refusals
        self.heartbeatInterval = heartbeatInterval
    }
}

/// The answer to a heartbeat.
package struct HeartbeatResult: Sendable, Hashable {
    package var needsRegistration: Bool
    package var heartbeatInterval: Duration?

    package init(needsRegistration: Bool, heartbeatInterval: Duration?) {
        self.needsRegistration = needsRegistration
        self.heartbeatInterval = heartbeatInterval
    }
}

/// What a node tells its control plane of trust, so that a rotation of roots can go on when nobody is left behind.
package struct TrustReport: Sendable, Hashable {
    /// The newest revision of the control plane's store that this node has seen; 0: none.
    package var revision: UInt64 = 0
    /// The roots that the node and its data plane trust.
    package var trusted: Set<CertificateFingerprint> = []
    /// The roots that certificates in use lead to.
    package var issuing: Set<CertificateFingerprint> = []

    package init() {}
}

/// Signs requests for certificates.
package protocol CertificateSigner: Sendable {
    /// - Parameter validity: nil: the authority's own choice.
    /// - Returns: PEM, leaf first.
    func sign(csrPEM: String, for identity: SPIFFEID, validity: Duration?) async throws(ControlPlaneError) -> [String]
}

/// One connection to the control plane, proven on both sides.
package protocol ControlPlaneSession: CertificateSigner {
    func register(
        _ registration: NodeRegistration, generation: UInt64
    ) async throws(ControlPlaneError) -> RegistrationResult

    func heartbeat(generation: UInt64, report: TrustReport) async throws(ControlPlaneError) -> HeartbeatResult

    /// Adds to what the control plane knows of recent connections.
    ///
    /// - Parameter run: tells this run of the daemon from others.
    /// - Returns: when the next report is wanted; nil: it did not say.
    func report(_ report: DecisionLog.Report, run: UInt64) async throws(ControlPlaneError) -> Duration?

    /// Opens a discovery stream, sends `first`, gives each response to `handle` and sends what it returns. Ends when
    /// the stream does, normally or with an error.
    func discover(
        first: [Envoy_Service_Discovery_V3_DeltaDiscoveryRequest],
        handle:
            @escaping @Sendable (Envoy_Service_Discovery_V3_DeltaDiscoveryResponse) throws ->
            Envoy_Service_Discovery_V3_DeltaDiscoveryRequest
    ) async throws(ControlPlaneError)
}

/// Makes connections to the control plane.
package protocol ControlPlaneDialler: Sendable {
    /// Exchanges a token for a certificate; the server is known by its root's fingerprint alone.
    func join(
        token: String, node: String, csrPEM: String, fingerprint: CertificateFingerprint
    ) async throws(ControlPlaneError) -> JoinGrant

    /// Runs `body` with a connection under the node's identity, and closes it.
    func withSession(
        _ credentials: NodeCredentials, _ body: @escaping @Sendable (any ControlPlaneSession) async throws -> Void
    ) async throws
}
