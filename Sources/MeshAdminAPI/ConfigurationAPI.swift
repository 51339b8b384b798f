// SPDX-License-Identifier: Apache-2.0

/// `GET /v1/config` of either daemon: its configuration in force.
package struct ConfigurationSummary: Codable, Sendable, Hashable {
    package struct Entry: Codable, Sendable, Hashable {
        package var key: String
        /// One or none, or the items of a list; secrets are redacted.
        package var values: [String]
        /// `default`, `FILE:LINE`, a variable or a flag.
        package var origin: String
        /// A reload takes the key over; otherwise a restart does.
        package var isLive: Bool
        /// What a restart would bring; nil: the same.
        package var pending: [String]?

        package init(key: String, values: [String], origin: String, isLive: Bool, pending: [String]?) {
            self.key = key
            self.values = values
            self.origin = origin
            self.isLive = isLive
            self.pending = pending
        }
    }

    package var program: String
    /// The file that was read, if there was one.
    package var file: String?
    package var entries: [Entry]
    /// Why the last reload changed nothing.
    package var problems: [String]

    package init(program: String, file: String?, entries: [Entry], problems: [String]) {
        self.program = program
        self.file = file
        self.entries = entries
        self.problems = problems
    }
}
