// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import MeshResources

/// Applies sources to a configuration one after the other, the weakest first, and collects every fault.
struct ConfigurationReader<Configuration: Sendable> {
    private let table: ConfigurationTable<Configuration>
    private var reading: ConfigurationReading<Configuration>
    private var problems: [String] = []

    init(table: ConfigurationTable<Configuration>, configuration: Configuration) {
        self.table = table
        self.reading = ConfigurationReading(value: configuration, origins: [:])
    }

    mutating func apply(_ sources: ConfigurationSources) {
        self.problems += sources.problems
        if let file = sources.file { self.apply(file: file.name, text: file.text) }
        self.apply(environment: sources.environment)
        self.apply(flags: sources.flags)
        self.problems += self.table.check(self.reading.value)
    }

    func finish() throws(ConfigurationError) -> ConfigurationReading<Configuration> {
        guard self.problems.isEmpty else { throw ConfigurationError(problems: self.problems) }
        return self.reading
    }

    private mutating func apply(file: String, text: String) {
        self.reading.file = file
        let documents = DocumentParser.parse(text, limits: ResourceLimits())
        if documents.count > 1 { self.problems.append("\(file): more than one document; a configuration is one") }
        for document in documents.prefix(1) {
            switch document.content {
            case .problem(let problem):
                self.problems.append("\(file)\(problem.line.map { ":\($0)" } ?? ""): \(problem.reason)")
            case .value(let value):
                guard case .object(let members) = value.content else {
                    self.problems.append("\(file):\(value.line): the top level must be a mapping of keys to values")
                    continue
                }
                for member in members { self.apply(member, of: file) }
            }
        }
    }

    private mutating func apply(_ member: DocumentValue.Member, of file: String) {
        let place = "\(file):\(member.line)"
        guard let key = self.table.key(member.key) else { return self.reportUnknown(member.key, at: place) }
        self.reading.origins[key.name] = .file(name: file, line: member.line)
        switch (key.shape, member.value.content) {
        case (_, .scalar(let text, _)):
            self.setAll(key, text, at: place)
        case (.list, .list(let items)):
            key.clear(&self.reading.value)
            for item in items {
                guard case .scalar(let text, _) = item.content else {
                    self.problems.append("\(file):\(item.line): \(key.name): \(item.description) is no item of a list")
                    continue
                }
                self.set(key, text, at: "\(file):\(item.line)")
            }
        case (.map, .object(let entries)):
            key.clear(&self.reading.value)
            for entry in entries {
                guard case .scalar(let text, _) = entry.value.content else {
                    self.problems.append("\(file):\(entry.line): \(key.name): \(entry.key): must be a single value")
                    continue
                }
                self.set(key, "\(entry.key)=\(text)", at: "\(file):\(entry.line)")
            }
        case (.single, _): self.problems.append("\(place): \(key.name): must be a single value")
        case (.list, _): self.problems.append("\(place): \(key.name): must be a single value or a list")
        case (.map, _): self.problems.append("\(place): \(key.name): must be a mapping of names to values")
        }
    }

    private mutating func apply(environment: [String: String]) {
        let table = self.table
        let keys = Dictionary(table.keys.map { (table.variable(of: $0), $0) }) { first, _ in first }
        for (variable, value) in environment.sorted(by: { $0.key < $1.key }) {
            guard variable.hasPrefix(table.variablePrefix), !table.otherVariables.contains(variable) else { continue }
            guard let key = keys[variable] else {
                let near = NearName.of(variable, among: keys.keys)
                self.problems.append(
                    "\(variable): sets no key\(near.map { "; did you mean \($0)?" } ?? " of \(table.program)")")
                continue
            }
            // What a unit file or a shell leaves empty is not set.
            guard !value.isEmpty else { continue }
            self.reading.origins[key.name] = .environment(variable: variable)
            self.setAll(key, value, at: variable)
        }
    }

    private mutating func apply(flags: [(key: String, value: String)]) {
        var seen: Set<String> = []
        for (name, value) in flags {
            guard let key = self.table.key(name) else {
                self.reportUnknown(name, at: "--set \(name)")
                continue
            }
            // The first item of a list given as a flag replaces those of weaker sources.
            if seen.insert(name).inserted { key.clear(&self.reading.value) }
            self.reading.origins[name] = .flag(key.flagText)
            self.setAll(key, value, at: key.flagText, clears: false)
        }
    }

    /// A list may stand in one text, with commas.
    private mutating func setAll(
        _ key: ConfigurationKey<Configuration>, _ value: String, at place: String, clears: Bool = true
    ) {
        guard key.shape != .single else { return self.set(key, value, at: place) }
        if clears { key.clear(&self.reading.value) }
        guard !value.isEmpty else { return }
        for item in value.split(separator: ",", omittingEmptySubsequences: false) {
            self.set(key, String(item.drop { $0 == " " }), at: place)
        }
    }

    private mutating func set(_ key: ConfigurationKey<Configuration>, _ value: String, at place: String) {
        if let problem = key.set(&self.reading.value, value) {
            self.problems.append("\(place): \(key.name): \(problem)")
        }
    }

    private mutating func reportUnknown(_ name: String, at place: String) {
        let names = self.table.keys.map(\.name)
        let help =
            NearName.of(name, among: names).map { "did you mean \($0)?" }
            ?? "known are \(names.sorted().joined(separator: ", "))"
        self.problems.append("\(place): \(name): unknown key; \(help)")
    }
}
