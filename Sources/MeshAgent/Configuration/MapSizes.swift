// SPDX-License-Identifier: Apache-2.0

import MeshSteering

/// The kernel maps whose sizes an operator may set, by the names in the configuration.
package enum MapSizes {
    private typealias Capacities = SteeringConfiguration.Capacities

    /// A smaller map would refuse what any node needs; the largest takes some gigabytes.
    private static let limits: ClosedRange<UInt32> = 64...4_194_304

    private static func path(of name: String) -> WritableKeyPath<Capacities, UInt32>? {
        switch name {
        case "flows": \.flows
        case "prefixes": \.prefixes
        case "workloads": \.workloads
        default: nil
        }
    }

    static let names = ["flows", "prefixes", "workloads"]

    static let help =
        "NAME is one of \(Self.names.joined(separator: ", ")); ENTRIES from \(Self.limits.lowerBound) to \(Self.limits.upperBound)"

    static func range(of name: String) -> ClosedRange<UInt32>? { Self.path(of: name) == nil ? nil : Self.limits }

    /// The sizes that were not set keep their defaults.
    package static func capacities(_ sizes: [String: UInt32]) -> SteeringConfiguration.Capacities {
        var capacities = Capacities()
        for (name, size) in sizes {
            if let path = Self.path(of: name) { capacities[keyPath: path] = size }
        }
        return capacities
    }
}
