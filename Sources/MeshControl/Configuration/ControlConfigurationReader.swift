// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Yams

/// All faults of a configuration at once.
package struct ConfigurationError: Error, Equatable, CustomStringConvertible {
    package var problems: [String]
    package init(problems: [String]) { self.problems = problems }
    package var description: String { self.problems.joined(separator: "\n") }
}

/// Puts a configuration together from a YAML file and overriding flags; both use the same keys and checks.
package struct ControlConfigurationReader {
    /// Every key, sorted.
    package static let keys = [
        "advertise", "apiListen", "dataDir", "grpcListen", "logLevel", "meshPrefixes", "metricsListen", "nodeTimeout",
        "svidTtl", "trustDomain",
    ]
    private static let lists: Set<String> = ["advertise", "meshPrefixes"]

    private var problems: [String] = []
    private var configuration = ControlConfiguration()

    /// - Parameters:
    ///   - file: the file's name and text, if there is one.
    ///   - flags: key and value, as on the command line; a list in flags replaces the file's.
    /// - Throws: every fault found.
    package static func read(
        file: (name: String, text: String)?, flags: [(key: String, value: String)]
    ) throws(ConfigurationError) -> ControlConfiguration {
        var reader = ControlConfigurationReader()
        if let file { reader.apply(file: file.name, text: file.text) }
        var cleared: Set<String> = []
        for (key, value) in flags {
            if Self.lists.contains(key), cleared.insert(key).inserted { reader.clear(key) }
            reader.set(key, value, at: "--\(Self.flag(for: key))")
        }
        reader.checkWhole()
        guard reader.problems.isEmpty else { throw ConfigurationError(problems: reader.problems) }
        return reader.configuration
    }

    private static func flag(for key: String) -> String {
        if key == "meshPrefixes" { return "mesh-prefix" }
        return key.reduce(into: "") { text, character in
            text += character.isUppercase ? "-\(character.lowercased())" : String(character)
        }
    }

    private mutating func clear(_ list: String) {
        if list == "advertise" { self.configuration.advertise = [] } else { self.configuration.meshPrefixes = [] }
    }

    private mutating func apply(file: String, text: String) {
        let node: Yams.Node?
        do {
            node = try Yams.compose(yaml: text)
        } catch {
            self.problems.append("\(file): not YAML: \(error)")
            return
        }
        guard let node else { return }
        guard case .mapping(let mapping) = node else {
            // A file of comments alone composes to an empty scalar.
            if node.string?.isEmpty != true {
                self.problems.append("\(file): the top level must be a mapping of keys to values")
            }
            return
        }
        var seen: Set<String> = []
        for (key, value) in mapping {
            let place = "\(file):\(key.mark?.line ?? 0)"
            guard let name = key.string else {
                self.problems.append("\(place): a key must be a string")
                continue
            }
            guard seen.insert(name).inserted else {
                self.problems.append("\(place): \(name): given twice")
                continue
            }
            switch value {
            case .scalar(let scalar):
                self.set(name, scalar.string, at: place)
            case .sequence(let items) where Self.lists.contains(name):
                for item in items { self.set(name, item.string ?? "", at: place) }
            default:
                self.problems.append(
                    "\(place): \(name): must be a single value\(Self.lists.contains(name) ? " or a list" : "")")
            }
        }
    }

    private mutating func set(_ key: String, _ value: String, at place: String) {
        func fail(_ reason: String) { self.problems.append("\(place): \(key): \(reason)") }
        func number(_ range: ClosedRange<Int>, _ path: WritableKeyPath<ControlConfiguration, Int>) {
            guard let number = Int(value), range.contains(number) else {
                return fail("'\(value)' is not a number of seconds from \(range.lowerBound) to \(range.upperBound)")
            }
            self.configuration[keyPath: path] = number
        }
        func listen(_ path: WritableKeyPath<ControlConfiguration, SocketAddress>) {
            guard let address = SocketAddress(value) else {
                return fail("'\(value)' is not IP:PORT, such as 0.0.0.0:15012 or [::1]:15080")
            }
            self.configuration[keyPath: path] = address
        }
        switch key {
        case "dataDir":
            guard value.hasPrefix("/") else { return fail("'\(value)' is not an absolute path") }
            self.configuration.dataDirectory = value
        case "grpcListen": listen(\.grpcListen)
        case "apiListen": listen(\.apiListen)
        case "metricsListen": listen(\.metricsListen)
        case "advertise":
            guard let parsed = HostPort(value) else {
                return fail("'\(value)' is not HOST:PORT, such as control.example.org:15012")
            }
            self.configuration.advertise.append(parsed)
        case "meshPrefixes":
            guard let prefix = IPPrefix(value) else { return fail("'\(value)' is not a CIDR such as 10.0.0.0/8") }
            guard Self.isUsable(prefix) else {
                return fail("'\(value)' would capture what is not the mesh's: loopback, multicast, or every address")
            }
            self.configuration.meshPrefixes.append(prefix)
        case "trustDomain":
            guard SPIFFEID.isValidTrustDomain(value) else {
                return fail("'\(value)' is not a trust domain: lower-case letters, digits, '.', '-' and '_'")
            }
            self.configuration.trustDomain = value
        case "nodeTimeout": number(3...3600, \.nodeTimeout)
        case "svidTtl": number(60...2_592_000, \.svidTTL)
        case "logLevel":
            let levels = ControlConfiguration.LogLevel.allCases.map(\.rawValue).joined(separator: ", ")
            guard let level = ControlConfiguration.LogLevel(rawValue: value) else {
                return fail("'\(value)' is not one of \(levels)")
            }
            self.configuration.logLevel = level
        default:
            fail("unknown key; known are \(Self.keys.joined(separator: ", "))")
        }
    }

    private static func isUsable(_ prefix: IPPrefix) -> Bool {
        let forbidden = ["127.0.0.1", "224.0.0.0", "::1", "ff02::1", "0.0.0.0", "::"].compactMap { IPAddress($0) }
        return !forbidden.contains { prefix.contains($0) || $0 == prefix.address }
    }

    private mutating func checkWhole() {
        let listeners = [
            self.configuration.grpcListen, self.configuration.apiListen, self.configuration.metricsListen,
        ]
        if Set(listeners.map(\.port)).count < listeners.count {
            self.problems.append("grpcListen, apiListen and metricsListen: must use three different ports")
        }
    }
}
