// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What a daemon's metrics page holds.
struct Exposition {
    struct Family {
        var type: String
        /// Labels seen, `le` left out; empty when the metric has no series.
        var labels: Set<String> = []
    }

    private(set) var families: [String: Family] = [:]
    /// Name and labels as they stand there, and value.
    private(set) var samples: [String: Double] = [:]

    init(_ text: String) {
        for line in text.split(separator: "\n") {
            if line.hasPrefix("# TYPE ") {
                let words = line.split(separator: " ")
                self.families[String(words[2])] = Family(type: String(words[3]))
            } else if !line.hasPrefix("#"), let space = line.lastIndex(of: " ") {
                let name = String(line.prefix { $0 != "{" && $0 != " " })
                self.samples[String(line[..<space])] = Double(line[line.index(after: space)...])
                let labels = line.matches(of: /([a-z_]+)="(?:[^"\\]|\\.)*"/).map { String($0.1) }
                self.families[self.family(of: name)]?.labels.formUnion(labels.filter { $0 != "le" })
            }
        }
    }

    /// The metric to which a series belongs; the name itself where there is none.
    func family(of series: String) -> String {
        if self.families[series] != nil { return series }
        for suffix in ["_bucket", "_sum", "_count"] where series.hasSuffix(suffix) {
            let name = String(series.dropLast(suffix.count))
            if self.families[name]?.type == "histogram" { return name }
        }
        return series
    }

    /// The sum of the samples of a series whose labels contain all of these.
    func sum(_ name: String, _ labels: String...) -> Double {
        self.samples.filter { key, _ in
            key.hasPrefix(name + "{") && labels.allSatisfy { key.contains($0) }
        }.values.reduce(0, +)
    }
}

/// The tables of docs/metrics.md.
struct MetricsReference {
    struct Row {
        var type: String
        var labels: Set<String>
    }

    /// By the heading under which the tables are: `nodemeshd`, `nodemesh-control`.
    private(set) var rows: [String: [String: Row]] = [:]

    init() throws {
        let text = try String(
            contentsOf: Lab.repository.appending(path: "docs/metrics.md"), encoding: .utf8)
        var part = ""
        func names(_ text: some StringProtocol) -> Set<String> {
            Set(String(text).matches(of: /`([a-z_]+)`/).map { String($0.1) })
        }
        let common = text.split(separator: "\n").first { $0.hasPrefix("* Istio's labels are ") }
        let istio = names(common ?? "")
        for line in text.split(separator: "\n") {
            if line.hasPrefix("## ") {
                part = String(line.dropFirst(3))
            } else if let row = line.wholeMatch(of: /\| `([a-z_]+)` \| (counter|gauge|histogram) \| (.*?) \| .+ \|/) {
                self.rows[part, default: [:]][String(row.1)] = Row(
                    type: String(row.2), labels: row.3 == "Istio's" ? istio : names(row.3))
            }
        }
    }
}

/// The metrics and labels that a PromQL expression names.
struct QueryNames {
    /// Each metric with the labels that are matched on it.
    var metrics: [(name: String, labels: Set<String>)] = []
    /// What is grouped by.
    var grouping: Set<String> = []

    init(_ query: String) {
        for match in query.matches(of: /\b((?:nodemesh|istio)_[a-z_]+)\b(?:\{([^}]*)\})?/) {
            let labels = (match.2 ?? "").matches(of: /([a-z_]+)\s*(?:=~|!~|!=|=)/).map { String($0.1) }
            self.metrics.append((String(match.1), Set(labels)))
        }
        for match in query.matches(of: /\bby\s*\(([^)]*)\)/) {
            self.grouping.formUnion(match.1.matches(of: /[a-z_]+/).map { String($0.0) })
        }
    }
}
