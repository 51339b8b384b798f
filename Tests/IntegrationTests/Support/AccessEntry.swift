// SPDX-License-Identifier: Apache-2.0

/// The fields of an access-log line that the tests look at.
struct AccessEntry: Decodable {
    var direction: String
    var source: String
    var sourceWorkload: String?
    var sourceNamespace: String?
    var sourceIdentity: String?
    var destination: String
    var destinationWorkload: String?
    var destinationNamespace: String?
    var destinationIdentity: String?
    var wire: String
    /// What moved the bytes, where there is a choice.
    var engine: String?
    var policy: String?
    var dryRunDenied: [String]?
    var dryRunAllowed: [String]?
    var bytesSent: UInt64
    var bytesReceived: UInt64
    var reason: String?
    var detail: String?
    var traceparent: String?
    var event: String?
    /// Microseconds.
    var phases: [String: Int]?

    enum CodingKeys: String, CodingKey {
        case direction, wire, engine, policy, reason, detail, traceparent, event, phases
        case source = "src.addr"
        case sourceWorkload = "src.workload"
        case sourceNamespace = "src.namespace"
        case sourceIdentity = "src.identity"
        case destination = "dst.addr"
        case destinationWorkload = "dst.workload"
        case destinationNamespace = "dst.namespace"
        case destinationIdentity = "dst.identity"
        case dryRunDenied = "dry_run_denied"
        case dryRunAllowed = "dry_run_allowed"
        case bytesSent = "bytes_sent"
        case bytesReceived = "bytes_recv"
    }

    var sourcePort: Int? { self.source.split(separator: ":").last.flatMap { Int($0) } }

    /// `namespace/name` of both ends, where they are known.
    var ends: String {
        func name(_ namespace: String?, _ name: String?) -> String { "\(namespace ?? "-")/\(name ?? "-")" }
        let source = name(self.sourceNamespace, self.sourceWorkload)
        return "\(source) \(name(self.destinationNamespace, self.destinationWorkload))"
    }
}
