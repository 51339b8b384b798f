// SPDX-License-Identifier: Apache-2.0

package import MeshModel

/// One event of a connection as one line of JSON. Fields that are not known are left out; phases are in microseconds, and
/// so is `srtt`.
package enum AccessLogLine {
    /// Ends with a line feed and holds no other.
    package static func text(_ record: ConnectionRecord, event: AccessLogSettings.Event = .close) -> String {
        var line = JSONLine()
        let setup = UInt64(record.phases[.setup] ?? 0) * 1000
        let end = record.openedAt.addingReportingOverflow(event == .open ? setup : record.duration)
        line.add("timestamp", Self.timestamp(end.overflow ? record.openedAt : end.partialValue))
        line.add("event", event.rawValue)
        line.add("connection", record.id)
        line.add("direction", record.direction.rawValue)
        line.add("src.addr", record.sourceAddress.description)
        line.add("src.workload", record.source?.name)
        line.add("src.namespace", record.source?.namespace)
        line.add("src.identity", record.sourceIdentity?.description)
        line.add("dst.addr", record.destination.description)
        line.add("dst.service", record.service?.description)
        line.add("dst.workload", record.destinationWorkload?.name)
        line.add("dst.namespace", record.destinationWorkload?.namespace)
        line.add("dst.identity", record.destinationIdentity?.description)
        line.add("dst.upstream", record.upstream?.description)
        line.add("wire", record.wire.rawValue)
        line.add("engine", record.engine?.rawValue)
        line.add("bytes_sent", record.bytesSent)
        line.add("bytes_recv", record.bytesReceived)
        line.add("duration_ms", Self.milliseconds(record.duration), isNumber: true)
        line.add("reason", record.reason?.rawValue)
        line.add("policy", record.policy?.description)
        line.add("policy_rule", record.policyRule.map(String.init), isNumber: true)
        line.add("policy_reason", record.policyReason?.word)
        let changes = record.dryRunChanges
        line.add("dry_run_denied", changes.filter { !$0.wouldAllow }.map(\.policy.description))
        line.add("dry_run_allowed", changes.filter(\.wouldAllow).map(\.policy.description))
        line.add("detail", record.detail)
        line.add("traceparent", record.trace?.description)
        let phases = record.phases.reached
        if !phases.isEmpty { line.add("phases", phases.map { ($0.phase.rawValue, UInt64($0.microseconds)) }) }
        if let tcp = record.tcp {
            line.add(
                "tcp",
                [
                    ("srtt", UInt64(tcp.smoothedRTT)), ("segments", UInt64(tcp.sentSegments)),
                    ("retransmitted", UInt64(tcp.retransmittedSegments)),
                ])
        }
        return line.finished
    }

    /// Tells how many lines are missing since the last such line, by cause.
    static func losses(_ losses: [AccessLogQueue.Loss: UInt64], at time: UInt64) -> String {
        var line = JSONLine()
        line.add("timestamp", Self.timestamp(time))
        line.add("event", "dropped")
        for loss in AccessLogQueue.Loss.allCases { if let count = losses[loss] { line.add(loss.rawValue, count) } }
        return line.finished
    }

    /// RFC 3339 in UTC with microseconds.
    package static func timestamp(_ nanoseconds: UInt64) -> String {
        let seconds = nanoseconds / 1_000_000_000
        let micros = nanoseconds % 1_000_000_000 / 1000
        let (days, rest) = (Int(seconds / 86400), Int(seconds % 86400))
        // Days to a civil date by eras of 400 years that begin on 1 March.
        let shifted = days + 719_468
        let (era, day) = (shifted / 146_097, shifted % 146_097)
        let year = (day - day / 1460 + day / 36524 - day / 146_096) / 365
        let dayOfYear = day - (365 * year + year / 4 - year / 100)
        let part = (5 * dayOfYear + 2) / 153
        let month = part < 10 ? part + 3 : part - 9
        return Self.padded(year + era * 400 + (month <= 2 ? 1 : 0), 4) + "-" + Self.padded(month, 2) + "-"
            + Self.padded(dayOfYear - (153 * part + 2) / 5 + 1, 2) + "T" + Self.padded(rest / 3600, 2) + ":"
            + Self.padded(rest / 60 % 60, 2) + ":" + Self.padded(rest % 60, 2) + "."
            + Self.padded(Int(micros), 6) + "Z"
    }

    private static func milliseconds(_ nanoseconds: UInt64) -> String {
        "\(nanoseconds / 1_000_000).\(Self.padded(Int(nanoseconds / 1000 % 1000), 3))"
    }

    private static func padded(_ value: Int, _ width: Int) -> String {
        let text = String(value)
        return String(repeating: "0", count: max(0, width - text.count)) + text
    }
}

/// Builds one JSON object on one line.
private struct JSONLine {
    private var text = "{"

    mutating func add(_ key: String, _ value: String?, isNumber: Bool = false) {
        guard let value else { return }
        self.text += self.text == "{" ? "\"\(key)\":" : ",\"\(key)\":"
        if isNumber { self.text += value } else { self.quote(value) }
    }

    /// A list of strings; nothing when it is empty.
    mutating func add(_ key: String, _ values: [String]) {
        if values.isEmpty { return }
        self.add(key, "[", isNumber: true)
        for (index, value) in values.enumerated() {
            if index > 0 { self.text += "," }
            self.quote(value)
        }
        self.text += "]"
    }

    mutating func add(_ key: String, _ values: [(String, UInt64)]) {
        let text = values.map { "\"\($0)\":\($1)" }.joined(separator: ",")
        self.add(key, "{\(text)}", isNumber: true)
    }

    mutating func add(_ key: String, _ value: UInt64) { self.add(key, String(value), isNumber: true) }

    /// RFC 8259 §7; the separators of JavaScript are escaped too, so that no reader sees a second line.
    private mutating func quote(_ value: String) {
        self.text += "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": self.text += "\\\""
            case "\\": self.text += "\\\\"
            case "\n": self.text += "\\n"
            case "\r": self.text += "\\r"
            case "\t": self.text += "\\t"
            case "\u{0}"..."\u{1f}", "\u{7f}"..."\u{9f}", "\u{2028}", "\u{2029}":
                let digits = String(scalar.value, radix: 16)
                self.text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: self.text.unicodeScalars.append(scalar)
            }
        }
        self.text += "\""
    }

    var finished: String { self.text + "}\n" }
}
