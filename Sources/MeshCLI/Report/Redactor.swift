// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Takes secrets out of text by their form, whoever wrote it: tokens, private keys, keys of TLS sessions, and what
/// stands behind a name that says so. It errs on the side of taking too much.
struct Redactor: Sendable {
    static let mark = "(redacted)"
    /// A line longer than this is cut: what no program of ours writes need not be searched.
    private static let lineLimit = 4 << 20

    /// Known secrets, which are taken out wherever they stand.
    private let known: [String]

    init(known: [String]) { self.known = known.filter { $0.utf8.count >= 8 } }

    func redact(_ text: String) -> String {
        var text = text
        for secret in self.known { text = text.replacing(secret, with: Self.mark) }
        var (lines, isInKey) = ([String](), false)
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            // PEM; in JSON its line ends are escapes, and all of it stands in one line.
            let isKeyBegin = line.contains("-----BEGIN") && line.contains("PRIVATE KEY")
            if isKeyBegin, !line.contains("-----END") {
                isInKey = true
                lines.append(Self.mark)
            } else if isInKey {
                isInKey = !line.contains("-----END")
            } else {
                lines.append(Self.line(line.count > Self.lineLimit ? line.prefix(Self.lineLimit) : line))
            }
        }
        return lines.joined(separator: "\n")
    }

    /// Words without which a line holds none of the named secrets; the search for them is quick.
    private static let hints = [
        "secret", "token", "password", "passphrase", "private", "bearer", "nmjt.", "authorization",
    ]

    private static func line(_ line: Substring) -> String {
        var text = String(line)
        let lowered = text.lowercased()
        if self.hints.contains(where: { lowered.contains($0) }) {
            text = text.replacing(
                /-----BEGIN[A-Z ]*PRIVATE KEY-----.*?-----END[A-Z ]*PRIVATE KEY-----/, with: self.mark)
            text = text.replacing(/nmjt\.[A-Za-z0-9_.~-]+/, with: self.mark)
            text = text.replacing(/(?i)(bearer|basic)\s+[A-Za-z0-9+\/_=.~-]+/, with: self.mark)
            // SSLKEYLOGFILE: LABEL, client random, secret.
            text = text.replacing(/[A-Z0-9_]*(SECRET|EXPORTER)[A-Z0-9_]* [0-9a-fA-F]+ [0-9a-fA-F]+/, with: self.mark)
            text = text.replacing(
                /(?i)(["']?[a-z0-9_.-]*(?:secret|token|password|passphrase|private_?key)["']?\s*[:=]\s*)("[^"]*"|'[^']*'|[^\s,}\]"']+)/
            ) { match in
                let value = match.output.2
                let isPlain =
                    ["null", "true", "false", "\"\"", "''"].contains(String(value)) || value == "[" || value == "{"
                return isPlain ? String(match.output.0) : "\(match.output.1)\"\(self.mark)\""
            }
        }
        // A fingerprint is said to be one; as much hexadecimal otherwise may be a key.
        if text.utf8.count >= 64 {
            text = text.replacing(/(sha256:)?[0-9a-fA-F]{64,}/) { match in
                match.output.1 != nil ? String(match.output.0) : self.mark
            }
        }
        return text
    }
}
