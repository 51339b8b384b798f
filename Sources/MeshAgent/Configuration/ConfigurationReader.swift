// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Yams

/// All faults of a configuration at once.
package struct ConfigurationError: Error, Equatable, CustomStringConvertible {
    package var problems: [String]
    package var description: String { self.problems.joined(separator: "\n") }

    package init(problems: [String]) {
        self.problems = problems
    }
}

/// Puts a configuration together from a YAML file and overriding flags; both use the same keys and checks.
package struct ConfigurationReader {
    private var problems: [String] = []
    private var configuration: AgentConfiguration

    private init(hostName: String) {
        self.configuration = AgentConfiguration(node: hostName)
    }

    /// - Parameters:
    ///   - file: the file's name and text, if there is one.
    ///   - flags: key and value, as on the command line; they win over the file.
    /// - Throws: ``ConfigurationError`` with every fault found.
    package static func read(
        file: (name: String, text: String)?, flags: [(key: String, value: String)], hostName: String
    ) throws(ConfigurationError) -> AgentConfiguration {
        var reader = ConfigurationReader(hostName: hostName)
        if let file { reader.apply(file: file.name, text: file.text) }
        var cleared: Set<String> = []
        for (key, value) in flags {
            // The first item of a list given as a flag replaces those of the file.
            if Self.lists.contains(key), cleared.insert(key).inserted { reader.clear(key) }
            reader.setAll(key, value, at: "--\(Self.flag(for: key))")
        }
        reader.checkWhole()
        guard reader.problems.isEmpty else { throw ConfigurationError(problems: reader.problems) }
        return reader.configuration
    }

    private static func flag(for key: String) -> String {
        if key == "nodeAddresses" { return "node-address" }
        if Self.lists.contains(key) { return "set \(key)" }
        return key.reduce(into: "") { text, character in
            text += character.isUppercase ? "-\(character.lowercased())" : String(character)
        }
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
            self.problems.append("\(file): the top level must be a mapping of keys to values")
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
                self.setAll(name, scalar.string, at: place)
            case .sequence(let items) where Self.lists.contains(name) && name != "mapSizes":
                self.clear(name)
                for item in items { self.set(name, item.string ?? "", at: "\(file):\(item.mark?.line ?? 0)") }
            case .mapping(let entries) where name == "mapSizes":
                for (key, value) in entries {
                    self.set(name, "\(key.string ?? "")=\(value.string ?? "")", at: "\(file):\(key.mark?.line ?? 0)")
                }
            default:
                self.problems.append("\(place): \(name): must be a single value")
            }
        }
    }

    /// Keys that hold several values.
    private static let lists: Set<String> = [
        "nodeAddresses", "excludePorts", "excludeInboundPorts", "excludePrefixes", "probeCgroups", "mapSizes",
    ]

    private mutating func clear(_ key: String) {
        switch key {
        case "nodeAddresses": self.configuration.nodeAddresses = []
        case "excludePorts": self.configuration.excludePorts = []
        case "excludeInboundPorts": self.configuration.excludeInboundPorts = []
        case "excludePrefixes": self.configuration.excludePrefixes = []
        case "probeCgroups": self.configuration.probeCgroups = []
        case "mapSizes": self.configuration.mapSizes = [:]
        default: break
        }
    }

    /// A list may stand in one text, with commas.
    private mutating func setAll(_ key: String, _ value: String, at place: String) {
        guard Self.lists.contains(key) else { return self.set(key, value, at: place) }
        if key == "probeCgroups", self.configuration.probeCgroups == nil { self.clear(key) }
        guard !value.isEmpty else { return }
        for item in value.split(separator: ",", omittingEmptySubsequences: false) {
            self.set(key, String(item.drop { $0 == " " }), at: place)
        }
    }

    private mutating func set(_ key: String, _ value: String, at place: String) {
        func fail(_ reason: String) { self.problems.append("\(place): \(key): \(reason)") }
        func number(_ range: ClosedRange<Int>, _ path: WritableKeyPath<AgentConfiguration, Int>) {
            guard let number = Int(value), range.contains(number) else {
                return fail("'\(value)' is not a whole number from \(range.lowerBound) to \(range.upperBound)")
            }
            self.configuration[keyPath: path] = number
        }
        func flag(_ path: WritableKeyPath<AgentConfiguration, Bool>) {
            guard let flag = Bool(value) else { return fail("'\(value)' is not one of true, false") }
            self.configuration[keyPath: path] = flag
        }
        func ports(_ path: WritableKeyPath<AgentConfiguration, [UInt16]>) {
            guard let port = UInt16(value), port > 0 else { return fail("'\(value)' is not a port from 1 to 65535") }
            if !self.configuration[keyPath: path].contains(port) { self.configuration[keyPath: path].append(port) }
        }
        func address(_ path: WritableKeyPath<AgentConfiguration, HostPort>) {
            guard let parsed = HostPort(value) else { return fail("'\(value)' is not HOST:PORT") }
            self.configuration[keyPath: path] = parsed
        }
        func directory(_ path: WritableKeyPath<AgentConfiguration, String>) {
            guard value.hasPrefix("/") else { return fail("'\(value)' is not an absolute path") }
            self.configuration[keyPath: path] = value
        }
        switch key {
        case "node":
            guard SPIFFEID.isValidSegment(value) else {
                return fail("'\(value)' is not a node name: letters, digits, '.', '-' and '_' only")
            }
            self.configuration.node = value
        case "controlPlane":
            guard let parsed = HostPort(value) else { return fail("'\(value)' is not HOST:PORT") }
            self.configuration.controlPlane = parsed
        case "caFingerprint":
            let hex = value.dropFirst("sha256:".count)
            guard value.hasPrefix("sha256:"), hex.count == 64, hex.allSatisfy(\.isHexDigit) else {
                return fail("'\(value)' is not sha256:<64 hex digits>; the control plane prints it with a join token")
            }
            self.configuration.caFingerprint = value.lowercased()
        case "joinToken":
            guard value.hasPrefix("nmjt.") else {
                return fail("not a join token (nmjt.<id>.<secret>); create one with 'nodemeshctl join-token create'")
            }
            self.configuration.joinToken = value
        case "dataDir": directory(\.dataDirectory)
        case "runDir": directory(\.runDirectory)
        case "instance":
            guard (1...32).contains(value.utf8.count), value != ".", value != "..", SPIFFEID.isValidSegment(value)
            else {
                return fail("'\(value)' is not an instance name: up to 32 letters, digits, '.', '-' and '_'")
            }
            self.configuration.instance = value
        case "nodeAddresses":
            guard let parsed = IPAddress(value), !parsed.isUnspecified else {
                return fail("'\(value)' is not an IP address")
            }
            self.configuration.nodeAddresses.append(parsed)
        case "locality":
            guard let parsed = Locality(value), parsed.isKnown else {
                return fail("'\(value)' is not REGION, REGION/ZONE or REGION/ZONE/SUBZONE, such as eu-1/eu-1a/rack-3")
            }
            self.configuration.locality = parsed
        case "loops": number(0...64, \.loops)
        case "handshakeThreads": number(0...64, \.handshakeThreads)
        case "aead":
            guard let parsed = AgentConfiguration.AEAD(rawValue: value) else {
                return fail("'\(value)' is not one of automatic, openssl, ipsecmb")
            }
            self.configuration.aead = parsed
        case "tunnelReuse": flag(\.tunnelReuse)
        case "tunnelAhead": flag(\.tunnelAhead)
        case "tunnelIdleTimeout": number(1...3600, \.tunnelIdleTimeout)
        case "engine":
            guard let parsed = AgentConfiguration.Engine(rawValue: value) else {
                return fail("'\(value)' is not one of automatic, user, kernel")
            }
            self.configuration.engine = parsed
        case "unknownDestination":
            guard let parsed = AgentConfiguration.UnknownDestination(rawValue: value) else {
                return fail("'\(value)' is not one of refuse, passthrough")
            }
            self.configuration.unknownDestination = parsed
        case "failMode":
            guard let parsed = AgentConfiguration.FailMode(rawValue: value) else {
                return fail("'\(value)' is not one of closed, open")
            }
            self.configuration.failMode = parsed
        case "excludePorts": ports(\.excludePorts)
        case "excludeInboundPorts": ports(\.excludeInboundPorts)
        case "excludePrefixes":
            guard let prefix = IPPrefix(value) else {
                return fail("'\(value)' is not a CIDR block, such as 10.1.0.0/16 or fd00::/8")
            }
            self.configuration.excludePrefixes.append(prefix)
        case "probeCgroups":
            guard !value.isEmpty, !value.split(separator: "/").contains("..") else {
                return fail("'\(value)' is not a cgroup's path, such as /system.slice/kubelet.service")
            }
            self.configuration.probeCgroups?.append(value)
        case "workloadsDirectory": directory(\.workloadsDirectory)
        case "directPath":
            guard let parsed = AgentConfiguration.DirectPath(rawValue: value) else {
                return fail("'\(value)' is not one of automatic, off")
            }
            self.configuration.directPath = parsed
        case "redirectPeer": flag(\.redirectPeer)
        case "sockmapCap": number((1 << 20)...(1 << 30), \.sockmapCap)
        case "mapSizes":
            let parts = value.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2, let size = UInt32(parts[1]), MapSizes.isValid(parts[0], size)
            else {
                return fail("'\(value)' is not NAME=ENTRIES: \(MapSizes.help)")
            }
            self.configuration.mapSizes[parts[0]] = size
        case "canaryInterval": number(0...86_400, \.canaryInterval)
        case "accessLog":
            guard value == "-" || value.hasPrefix("/") else {
                return fail("'\(value)' is neither an absolute path nor '-' for standard output")
            }
            self.configuration.accessLog = value
        case "logLevel":
            guard let parsed = AgentConfiguration.LogLevel(rawValue: value) else {
                return fail(
                    "'\(value)' is not one of \(AgentConfiguration.LogLevel.allCases.map(\.rawValue).joined(separator: ", "))"
                )
            }
            self.configuration.logLevel = parsed
        case "maxConnections": number(0...10_000_000, \.maxConnections)
        case "connectTimeout": number(1...3600, \.connectTimeout)
        case "halfCloseTimeout": number(1...1_000_000, \.halfCloseTimeout)
        case "idleTimeout": number(0...10_000_000, \.idleTimeout)
        case "metricsListen": address(\.metricsListen)
        case "readinessListen": address(\.readinessListen)
        default:
            fail("unknown key; known are \(Self.keys.joined(separator: ", "))")
        }
    }

    private mutating func checkWhole() {
        if self.configuration.controlPlane == nil {
            self.problems.append("controlPlane: missing; give --control-plane HOST:PORT or set it in the file")
        }
        if self.configuration.metricsListen.port == self.configuration.readinessListen.port {
            self.problems.append("metricsListen and readinessListen: must use different ports")
        }
    }

    /// Every key of the file, sorted.
    package static let keys = [
        "accessLog", "aead", "caFingerprint", "canaryInterval", "connectTimeout", "controlPlane", "dataDir",
        "directPath", "engine", "excludeInboundPorts", "excludePorts", "excludePrefixes", "failMode",
        "halfCloseTimeout", "handshakeThreads", "idleTimeout", "instance", "joinToken", "locality", "logLevel", "loops",
        "mapSizes", "maxConnections", "metricsListen", "node", "nodeAddresses", "probeCgroups", "readinessListen",
        "redirectPeer", "runDir", "sockmapCap", "tunnelAhead", "tunnelIdleTimeout", "tunnelReuse", "unknownDestination",
        "workloadsDirectory",
    ]
}
