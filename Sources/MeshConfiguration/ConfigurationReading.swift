// SPDX-License-Identifier: Apache-2.0

/// A configuration that is valid as a whole, and where each of its values comes from.
package struct ConfigurationReading<Configuration: Sendable>: Sendable {
    package var value: Configuration
    /// By key; what is not in it has its default.
    package var origins: [String: ConfigurationOrigin]
    /// The file that was read, if there was one.
    package var file: String?

    package func origin(of key: String) -> ConfigurationOrigin { self.origins[key] ?? .defaultValue }
}
