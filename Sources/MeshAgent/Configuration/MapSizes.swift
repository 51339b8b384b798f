// SPDX-License-Identifier: Apache-2.0

import MeshConfiguration
import MeshSteering

extension MapSizes {
    private typealias Capacities = SteeringConfiguration.Capacities

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
        case Self.eventBytes: \.eventBytes
        default: nil
        }
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
