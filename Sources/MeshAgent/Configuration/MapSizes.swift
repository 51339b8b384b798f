// SPDX-License-Identifier: Apache-2.0

import MeshSteering

/// The kernel maps whose sizes an operator may set, by the names in the configuration.
package enum MapSizes {
    private typealias Capacities = SteeringConfiguration.Capacities

    /// A smaller map would refuse what any node needs; the largest takes some gigabytes.
    private static let limits: ClosedRange<UInt32> = 64...4_194_304
    private static let ringLimits: ClosedRange<UInt32> = 4096...268_435_456

    private static func path(of name: String) -> WritableKeyPath<Capacities, UInt32>? {
        switch name {
        case "flows": \.flows
        case "prefixes": \.prefixes
        case "workloads": \.workloads
        case "ports": \.ports
        case "exclusions": \.exclusions
        case "addresses": \.addresses
        case "direct": \.direct
        case "verdicts": \.verdicts
        case "loads": \.loads
        case "eventBytes": \.eventBytes
        default: nil
        }
    }

    private static let names = [
        "flows", "prefixes", "workloads", "ports", "exclusions", "addresses", "direct", "verdicts", "loads",
        "eventBytes",
    ]

    static let help =
        "NAME is one of \(Self.names.joined(separator: ", ")); ENTRIES from \(Self.limits.lowerBound) to"
        + " \(Self.limits.upperBound), eventBytes a power of two from \(Self.ringLimits.lowerBound) to"
        + " \(Self.ringLimits.upperBound)"

    static func isValid(_ name: String, _ size: UInt32) -> Bool {
        if name == "eventBytes" { return Self.ringLimits.contains(size) && size & (size - 1) == 0 }
        return Self.path(of: name) != nil && Self.limits.contains(size)
    }

    /// The sizes that were not set keep their defaults.
    package static func capacities(_ sizes: [String: UInt32]) -> SteeringConfiguration.Capacities {
        var capacities = Capacities()
        for (name, size) in sizes {
            if let path = Self.path(of: name) { capacities[keyPath: path] = size }
        }
        return capacities
    }
}
