// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import MeshIdentity
import MeshModel
import MeshTelemetry

extension ConnectionTelemetry {
    /// When certificates of this node and of its workloads expire, for alarms well before that.
    package func watch(
        _ certificates: CertificateManager, node: @escaping @Sendable () -> SVID
    ) {
        self.registry.collect(
            "nodemesh_certificate_expiry_timestamp_seconds", .gauge,
            help: "When a certificate in use expires, in seconds since the Unix epoch; kind is node or workload.",
            labels: ["kind", "identity"]
        ) {
            let own = node()
            var samples = [(["node", own.identity.description], own.notAfter.timeIntervalSince1970)]
            for (identity, svid) in certificates.certificates {
                samples.append((["workload", identity.description], svid.notAfter.timeIntervalSince1970))
            }
            return samples.map { (labels: $0.0, value: $0.1.rounded()) }
        }
        self.registry.collect(
            "nodemesh_certificates_missing", .gauge,
            help: "Identities of workloads on this node without a valid certificate."
        ) {
            let all = certificates.summaries(node: "")
            return [([], Double(all.count { $0.state == "pending" || $0.state == "expired" }))]
        }
    }
}
