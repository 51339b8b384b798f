// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI

extension DNSStatus {
    var facts: Facts {
        var facts = Facts()
        facts.add("Names", self.isOn ? "answered" : "not answered: dns is off", self.isOn ? .good : .warning)
        facts.add("Domain", self.domain)
        facts.add("Aliases", self.aliases.isEmpty ? "none" : self.aliases.joined(separator: ", "))
        guard self.isOn else { return facts }
        facts.add(
            "Resolvers", self.upstreams.isEmpty ? "none" : self.upstreams.joined(separator: ", "),
            self.upstreams.isEmpty ? .bad : .plain)
        if !self.down.isEmpty { facts.add("Not answering", self.down.joined(separator: ", "), .warning) }
        facts.add("Remembered", "\(self.cacheEntries) of \(self.cacheCapacity) answers")
        facts.add("Waiting", "\(self.waiting) \(self.waiting == 1 ? "query" : "queries")")
        facts.add("Workloads", "\(self.workloads.count { $0.problem == nil }) of \(self.workloads.count) answered")
        for workload in self.workloads {
            if let problem = workload.problem { facts.add("Workload \(workload.workload)", problem, .bad) }
        }
        return facts
    }
}

extension DNSLookup {
    /// The result, then its records.
    func text(color: Bool) -> String {
        let rows = self.records.map { record in
            [Cell("  " + record.name), Cell("\(record.timeToLive)"), Cell(record.type), Cell(record.data)]
        }
        let milliseconds = (self.milliseconds * 10).rounded() / 10
        let result = Cell(self.result, self.result == "noerror" ? .good : .bad)
        let painted = color ? result.tone.painting(result.text) : result.text
        return "\(Printable.text(self.name)) \(self.type): \(painted) from \(self.source) in \(milliseconds) ms\n"
            + (rows.isEmpty ? "" : Table(columns: ["", "", "", ""], rows: rows).text(color: color))
    }
}
