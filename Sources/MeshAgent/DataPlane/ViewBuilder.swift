// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshDiscovery
import MeshIdentity
import MeshModel
import MeshProxy
import MeshTunnel

/// Puts what the control plane said and the certificates of local workloads together into the one value by which the
/// loops decide. It is rebuilt as a whole after a change, and changes that come together are taken together.
package actor ViewBuilder {
    private let node: String
    private let locality: Locality
    private let publish: @Sendable (ProxyView) -> Void
    /// Told which roots the data plane trusts and which its certificates lead to, after each view.
    private let report: @Sendable (TrustReport) -> Void
    private let logger: Logger
    private var state: MeshState?
    private var certificates: [SPIFFEID: SVID] = [:]
    private var local: [WorkloadID: SPIFFEID] = [:]
    /// Parsed certificates, by what they were parsed from; milliseconds each.
    private var parsed: [SPIFFEID: (serial: String, bundle: [String], identity: TLSIdentity)] = [:]
    private var isScheduled = false
    private var trust: (bundle: [String], roots: Set<CertificateFingerprint>) = ([], [])
    private static let settle = Duration.milliseconds(10)

    package private(set) var snapshot: MeshSnapshot?

    package init(
        node: String, locality: Locality, logger: Logger,
        report: @escaping @Sendable (TrustReport) -> Void = { _ in }, publish: @escaping @Sendable (ProxyView) -> Void
    ) {
        self.report = report
        self.node = node
        self.locality = locality
        self.logger = logger
        self.publish = publish
    }

    package func update(state: MeshState) {
        self.state = state
        self.schedule()
    }

    package func update(certificates: [SPIFFEID: SVID]) {
        self.certificates = certificates
        self.schedule()
    }

    /// What the last run has kept, until there is word of who has certificates.
    package func begin(certificates: [SPIFFEID: SVID]) {
        if self.certificates.isEmpty, !certificates.isEmpty { self.update(certificates: certificates) }
    }

    package func update(local: [WorkloadID: SPIFFEID]) {
        let isFirst = self.local.isEmpty && !local.isEmpty && !self.certificates.isEmpty
        self.local = local
        // Connections of a last run's workloads wait for their certificates.
        if isFirst, self.state != nil { return self.rebuild() }
        self.schedule()
    }

    /// The identities whose certificates are in the data plane's hands.
    package var heldCertificates: Set<SPIFFEID> { Set(self.parsed.keys) }

    private func schedule() {
        guard !self.isScheduled else { return }
        // Connections wait for the first.
        if self.snapshot == nil, self.state != nil { return self.rebuild() }
        self.isScheduled = true
        Task {
            try? await Task.sleep(for: Self.settle)
            self.isScheduled = false
            self.rebuild()
        }
    }

    private func rebuild() {
        guard let state = self.state, let settings = state.settings else { return }
        let snapshot = MeshSnapshot(
            settings: settings, localNode: self.node, localLocality: self.locality, workloads: state.workloads,
            services: state.services, nodes: state.nodes, policies: state.policies)
        self.parse(bundle: settings.trustBundle)
        self.snapshot = snapshot
        self.publish(
            ProxyView(
                snapshot: snapshot,
                identities: self.local.compactMapValues { self.parsed[$0]?.identity }))
        self.tellTrust(settings.trustBundle)
    }

    private func tellTrust(_ bundle: [String]) {
        if self.trust.bundle != bundle {
            self.trust = (bundle, (try? TrustBundle(pem: bundle))?.fingerprints ?? [])
        }
        var report = TrustReport()
        // One certificate that could not be changed over still is used under an older bundle.
        if self.parsed.values.allSatisfy({ $0.bundle == bundle }) { report.trusted = self.trust.roots }
        report.issuing = Set(self.certificates.values.map(\.issuer))
        self.report(report)
    }

    private func parse(bundle: [String]) {
        self.parsed = self.parsed.filter { self.certificates[$0.key] != nil }
        for (id, certificate) in self.certificates {
            if let held = self.parsed[id], held.serial == certificate.serial, held.bundle == bundle { continue }
            do throws(TunnelError) {
                let identity = try TLSIdentity(
                    certificateChainPEM: certificate.chainText, privateKeyPEM: certificate.key.pem,
                    trustBundlePEM: bundle.joined(separator: "\n"))
                self.parsed[id] = (certificate.serial, bundle, identity)
            } catch {
                // The one held before, if there is one, goes on serving.
                self.logger.error(
                    "a certificate cannot be used", metadata: ["workload.identity": "\(id)", "reason": "\(error)"])
            }
        }
    }
}
