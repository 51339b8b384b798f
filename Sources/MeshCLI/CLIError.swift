// SPDX-License-Identifier: Apache-2.0

/// A failure as the operator reads it: what happened, the details, and what to do next.
package struct CLIError: Error, Sendable, Equatable {
    /// One sentence without a full stop, without the program's name.
    package var message: String
    /// Lines of their own, printed before the message: one validation problem each.
    package var details: [String]
    /// What to try, one line each.
    package var hints: [String]
    package var status: CommandStatus

    package init(_ message: String, details: [String] = [], hints: [String] = [], status: CommandStatus = .failed) {
        self.message = message
        self.details = details
        self.hints = hints
        self.status = status
    }

    /// The text for standard error, with its final newline.
    package var text: String {
        let lines = self.details.map(Printable.text) + ["nodemeshctl: \(Printable.text(self.message))"]
        return (lines + self.hints.map { "  \($0)" }).joined(separator: "\n") + "\n"
    }
}
