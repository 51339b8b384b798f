// SPDX-License-Identifier: Apache-2.0

/// Which source gave a key its value.
package enum ConfigurationOrigin: Sendable, Hashable, CustomStringConvertible {
    case defaultValue
    case file(name: String, line: Int)
    case environment(variable: String)
    /// As on the command line, with its dashes.
    case flag(String)

    package var description: String {
        switch self {
        case .defaultValue: "default"
        case .file(let name, let line): "\(name):\(line)"
        case .environment(let variable): variable
        case .flag(let flag): flag
        }
    }
}
