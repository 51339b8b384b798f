// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshConfiguration

/// Whose configuration is meant.
package enum Daemon: String, ExpressibleByArgument, CaseIterable, Sendable {
    case nodemeshd
    case control = "nodemesh-control"

    /// A file that changes nothing, with every key as a comment.
    var defaultFile: String {
        switch self {
        case .nodemeshd: AgentConfiguration.table.defaultFile
        case .control: ControlConfiguration.table.defaultFile
        }
    }

    /// Checks what the daemon would read.
    func validate(_ sources: ConfigurationSources) throws(ConfigurationError) {
        switch self {
        case .nodemeshd: _ = try AgentConfiguration.table.read(sources)
        case .control: _ = try ControlConfiguration.table.read(sources)
        }
    }
}
