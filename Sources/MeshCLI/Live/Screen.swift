// SPDX-License-Identifier: Apache-2.0

/// Shows one text after the other: on a terminal each over the last, cut to its size; elsewhere one below the other.
///
/// Nothing about the terminal is changed, so that an interrupt leaves it as it was, with the last text on it.
struct Screen: Sendable {
    private let console: any Console

    init(_ console: any Console) { self.console = console }

    /// Whether texts cover each other.
    var isLive: Bool { self.console.isTerminal }

    func show(_ text: String, isFirst: Bool) throws(CLIError) {
        guard self.isLive else {
            return try self.console.write(isFirst ? text : "\n" + text)
        }
        // Asked each time: terminals are resized.
        let size = self.console.size ?? (rows: 24, columns: 80)
        try self.console.write((isFirst ? "\u{1b}[2J" : "") + Self.frame(text, rows: size.rows, columns: size.columns))
    }

    /// From the upper left corner, each line with the rest of its row cleared, then everything below.
    static func frame(_ text: String, rows: Int, columns: Int) -> String {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast(text.hasSuffix("\n") ? 1 : 0)
        // The last row stays free, or the newline at its end would scroll.
        let shown = lines.prefix(max(1, rows - 1)).map { Self.cut($0, to: columns) + "\u{1b}[K" }
        return "\u{1b}[H" + shown.map { $0 + "\r\n" }.joined() + "\u{1b}[J"
    }

    /// The first `columns` characters; colours take no room.
    static func cut(_ line: Substring, to columns: Int) -> String {
        var (text, width, isEscape, hasColor) = ("", 0, false, false)
        for character in line {
            if isEscape {
                isEscape = !character.isLetter
            } else if character == "\u{1b}" {
                (isEscape, hasColor) = (true, true)
            } else if width == columns {
                return hasColor ? text + "\u{1b}[0m" : text
            } else {
                width += 1
            }
            text.append(character)
        }
        return text
    }
}
