// SPDX-License-Identifier: Apache-2.0

/// Text from a peer, a file or a daemon, made safe for a terminal.
package enum Printable {
    /// Control characters become visible escapes, so that nothing can move the cursor or forge a line.
    package static func text(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: Self.isUnsafe) else { return text }
        return text.unicodeScalars.map { Self.isUnsafe($0) ? $0.escaped(asASCII: true) : String($0) }.joined()
    }

    private static func isUnsafe(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate: true
        default: false
        }
    }
}
