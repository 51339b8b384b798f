// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshAdminAPI
import MeshIdentity
import MeshModel
import MeshTelemetry
import Synchronization

/// Raises the alarm over certificates that should have been renewed long ago: renewal begins at half of a certificate's
/// life, so one that has spent two thirds of it is in trouble, and there is a third left to do something.
package final class CertificateAlarms: Sendable {
    /// What is wrong with one certificate, worse from one to the next.
    package enum Stage: Int, Sendable, Comparable {
        case late, urgent, expired
        package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

        /// nil: nothing is wrong.
        static func of(_ svid: SVID, at now: Date) -> Stage? {
            if svid.notAfter <= now { return .expired }
            return switch svid.spent(at: now) {
            case ..<(2 / 3.0): nil
            case ..<(9 / 10.0): .late
            default: .urgent
            }
        }
    }

    private struct Certificate {
        var notAfter: Date
        var stage: Stage?
        var lastError: String?
    }

    private let state = Mutex<[String: Certificate]>([:])
    private let node = Mutex<(identity: String, certificate: Certificate)?>(nil)
    private let events: EventHub
    private let logger: Logger

    package init(events: EventHub, logger: Logger) {
        self.events = events
        self.logger = logger
    }

    /// All of the workloads' certificates, as they are now.
    package func look(at statuses: [CertificateSchedule.Status], now: Date) {
        var present: [String: Certificate] = [:]
        for status in statuses {
            guard let svid = status.svid else { continue }
            present[status.identity.description] = Certificate(
                notAfter: svid.notAfter, stage: .of(svid, at: now), lastError: status.lastError)
        }
        let former = self.state.withLock { state in
            defer { state = present }
            return state
        }
        for (identity, certificate) in present {
            self.announce(identity, certificate, former: former[identity]?.stage, now: now)
        }
    }

    /// The node's own certificate, as it is now.
    package func look(atNode svid: SVID, lastError: String?, now: Date) {
        let certificate = Certificate(notAfter: svid.notAfter, stage: .of(svid, at: now), lastError: lastError)
        let identity = svid.identity.description
        let former = self.node.withLock { node in
            defer { node = (identity, certificate) }
            return node
        }
        self.announce(identity, certificate, former: former?.certificate.stage, now: now)
    }

    private func announce(_ identity: String, _ certificate: Certificate, former: Stage?, now: Date) {
        guard let stage = certificate.stage, former.map({ $0 < stage }) ?? true else {
            if former != nil, certificate.stage == nil {
                self.logger.notice("a certificate was renewed at last", metadata: ["workload.spiffe_id": "\(identity)"])
            }
            return
        }
        let text = Self.text(identity, certificate, now: now)
        self.logger.log(
            level: stage == .late ? .warning : .error, "a certificate is not being renewed",
            metadata: [
                "workload.spiffe_id": "\(identity)", "expires": "\(certificate.notAfter)",
                "error": "\(certificate.lastError ?? "none yet")",
            ])
        self.events.publish(
            NodeEvent(
                time: EventTime.text(now), kind: "alarm",
                reason: stage == .expired ? "certificate_expired" : "certificate_expiring", identity: identity,
                detail: text))
    }

    private static func text(_ identity: String, _ certificate: Certificate, now: Date) -> String {
        let left = certificate.notAfter.timeIntervalSince(now)
        let why = certificate.lastError.map { "; the last try to renew it: \($0)" } ?? ""
        return left <= 0
            ? "the certificate of \(identity) has expired, and connections that need it are refused\(why)"
            : "the certificate of \(identity) expires in \(ViewFreshness.text(.seconds(left))) and is not renewed\(why)"
    }

    /// Sentences for an operator; at most ten.
    package func problems(now: Date) -> [String] {
        let workloads = self.state.withLock { $0 }.filter { $0.value.stage != nil }
        var all = workloads.map { ($0.key, $0.value) }.sorted { ($0.1.notAfter, $0.0) < ($1.1.notAfter, $1.0) }
        if let node = self.node.withLock({ $0 }), node.certificate.stage != nil {
            all.insert((node.identity, node.certificate), at: 0)
        }
        let rest = all.count > 10 ? ["and \(all.count - 10) more certificates are not being renewed"] : []
        return all.prefix(10).map { Self.text($0.0, $0.1, now: now) } + rest
    }

    package func watch(_ registry: MetricsRegistry) {
        registry.collect(
            "nodemesh_certificates_unrenewed", .gauge,
            help: "Certificates that have spent two thirds of their life, and with expired those that are over:"
                + " renewal begins at half.", labels: ["state"]
        ) {
            var stages = self.state.withLock { $0.values.compactMap(\.stage) }
            if let stage = self.node.withLock({ $0 })?.certificate.stage { stages.append(stage) }
            return [
                (["expiring"], Double(stages.count { $0 != .expired })),
                (["expired"], Double(stages.count { $0 == .expired })),
            ]
        }
    }
}
