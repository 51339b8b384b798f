// SPDX-License-Identifier: Apache-2.0

/// Why a question about a connection cannot be answered.
package struct ExplainError: Error, Hashable, Sendable {
    package enum Code: Sendable {
        /// It cannot be understood.
        case invalid
        /// It names something that is not there.
        case notFound
    }

    package let code: Code
    /// One sentence that says what is wrong and what to change.
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }
}
