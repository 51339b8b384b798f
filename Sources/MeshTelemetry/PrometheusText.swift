// SPDX-License-Identifier: Apache-2.0

/// Writes the Prometheus text format 0.0.4.
struct PrometheusText {
    private(set) var text = ""

    mutating func header(_ name: String, _ kind: MetricKind, help: String) {
        self.text += "# HELP \(name) "
        Self.escape(help, quotes: false, into: &self.text)
        self.text += "\n# TYPE \(name) \(kind.rawValue)\n"
    }

    mutating func sample(_ name: String, _ labels: [(String, String)], _ value: String) {
        self.text += name
        if !labels.isEmpty {
            for (index, (label, value)) in labels.enumerated() {
                self.text += "\(index == 0 ? "{" : ",")\(label)=\""
                Self.escape(value, quotes: true, into: &self.text)
                self.text += "\""
            }
            self.text += "}"
        }
        self.text += " \(value)\n"
    }

    /// - Parameter counts: values up to each bound, the infinite one last.
    mutating func histogram(
        _ name: String, _ labels: [(String, String)], buckets: [Double], counts: [UInt64], sum: Double
    ) {
        for (bound, count) in zip(buckets + [.infinity], counts) {
            self.sample(name + "_bucket", labels + [("le", Self.number(bound))], String(count))
        }
        self.sample(name + "_sum", labels, Self.number(sum))
        self.sample(name + "_count", labels, String(counts.last ?? 0))
    }

    private static func escape(_ value: String, quotes: Bool, into text: inout String) {
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\"" where quotes: text += "\\\""
            default: text.unicodeScalars.append(scalar)
            }
        }
    }

    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        // Whole numbers without a fraction, as long as they are exact.
        if value == value.rounded(), abs(value) <= 0x1p53 { return String(Int64(value)) }
        return value.description
    }
}
