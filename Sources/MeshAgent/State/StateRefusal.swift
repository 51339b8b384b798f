// SPDX-License-Identifier: Apache-2.0

/// Why something that was found on disk is not used.
package struct StateRefusal: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Code: String, Sendable, Hashable, CaseIterable {
        /// It cannot be read as what it should be, or its seal is wrong.
        case damaged
        /// It was written by a newer program.
        case format
        /// It belongs to another node, trust domain or authority.
        case foreign
        /// It is older than what this node has written since.
        case rolledBack = "rolled_back"
        /// Others than its owner may have written or read it.
        case exposed
        /// The file system does not give it out.
        case unreadable
    }

    package let code: Code
    /// Continues the file's name to a sentence.
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { self.message }
}
