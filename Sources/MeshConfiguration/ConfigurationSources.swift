// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The texts a configuration is put together from, the weakest first: a file, the environment, flags.
package struct ConfigurationSources: Sendable {
    package var file: (name: String, text: String)?
    /// The whole environment; the table picks what is its own.
    package var environment: [String: String]
    /// Key and value, as on the command line; items of a list one by one, or with commas.
    package var flags: [(key: String, value: String)]
    /// What went wrong while the sources were fetched; reported with the faults inside them.
    package var problems: [String] = []

    package init(
        file: (name: String, text: String)? = nil, environment: [String: String] = [:],
        flags: [(key: String, value: String)] = []
    ) {
        self.file = file
        self.environment = environment
        self.flags = flags
    }

    /// Reads the file.
    ///
    /// - Parameters:
    ///   - named: a file that must be there.
    ///   - usual: read when it is there and no file is named.
    package mutating func readFile(named: String?, usual: String) {
        if named == nil, !FileManager.default.fileExists(atPath: usual) { return }
        let name = named ?? usual
        do {
            self.file = (name, try String(contentsOfFile: name, encoding: .utf8))
        } catch {
            self.problems.append("\(name): cannot be read: \(error.localizedDescription)")
        }
    }

    /// Adds what `--set` gave.
    ///
    /// - Parameter settings: `KEY=VALUE` each.
    package mutating func set(_ settings: [String]) {
        for setting in settings {
            guard let equals = setting.firstIndex(of: "="), equals != setting.startIndex else {
                self.problems.append("--set \(setting): give KEY=VALUE")
                continue
            }
            self.flags.append((String(setting[..<equals]), String(setting[setting.index(after: equals)...])))
        }
    }
}
