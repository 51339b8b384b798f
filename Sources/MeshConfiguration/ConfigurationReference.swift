// SPDX-License-Identifier: Apache-2.0

/// What is written about a table for people: the reference and the default file.
extension ConfigurationTable {
    /// A Markdown chapter, a table a section.
    package var reference: String {
        var text = """
            ## \(self.program)

            From `\(self.file)` if it is there; `--config FILE` names another. The variable of `logLevel` is
            `\(self.variablePrefix)LOG_LEVEL`, and so on.


            """
        for section in self.sections {
            text += "### \(section.title)\n\n| key | | value | default | takes effect with |\n|---|---|---|---|---|\n"
            for key in section.keys {
                let value = self.defaultText(of: key)
                let flag = key.flag.map { "; has `--\($0)`" } ?? ""
                text +=
                    "| `\(key.name)` | \(key.help) | \(self.form(of: key).replacing("<", with: "&lt;")) | \(value) | "
                    + "\(key.isLive ? "reload" : "restart")\(flag) |\n"
            }
            text += "\n"
        }
        return text
    }

    /// A configuration file that changes nothing: every key as a comment.
    package var defaultFile: String {
        var text = """
            # SPDX-License-Identifier: Apache-2.0
            # The configuration of \(self.program), in YAML. Every key stands here as a comment, with its default.
            # Variables (\(self.variablePrefix)...) and flags win over this file.
            # Check it: nodemeshctl config validate --daemon \(self.program) \(self.file)
            # A reload is 'systemctl reload \(self.program)'.

            """
        for section in self.sections {
            text += "\n## \(section.title)\n"
            for key in section.keys {
                text += "\n" + Self.comment("\(key.help).", width: 100)
                let words = key.defaultText.map { " Default: \($0)." } ?? ""
                text += Self.comment(
                    "Value: \(self.form(of: key)).\(words) Takes effect with a \(key.isLive ? "reload" : "restart").",
                    width: 100)
                text += "#\(key.name):\(self.example(of: key))\n"
            }
        }
        return text
    }

    private func defaultText(of key: ConfigurationKey<Configuration>) -> String {
        if let text = key.defaultText { return text }
        let text = key.shownText(of: self.defaults)
        return text.isEmpty ? "none" : "`\(text)`"
    }

    private func form(of key: ConfigurationKey<Configuration>) -> String {
        switch key.shape {
        case .single: key.allowed
        case .list: "any number, each \(key.allowed)"
        case .map: key.allowed
        }
    }

    /// The default as it would stand in the file; nothing where it has no text.
    private func example(of key: ConfigurationKey<Configuration>) -> String {
        let values = key.shownValues(of: self.defaults) ?? []
        switch key.shape {
        case .single: return values.first.map { $0.isEmpty || key.name == "node" ? "" : " \($0)" } ?? ""
        case .list: return " [\(values.joined(separator: ", "))]"
        case .map: return " {\(values.map { $0.replacing("=", with: ": ") }.joined(separator: ", "))}"
        }
    }

    /// Lines that begin with `# `, none longer than `width`.
    private static func comment(_ text: String, width: Int) -> String {
        var (lines, line) = ([String](), "#")
        for word in text.replacing("`", with: "").split(separator: " ") {
            if line.count + 1 + word.count > width {
                lines.append(line)
                line = "#"
            }
            line += " \(word)"
        }
        return (lines + [line]).map { "\($0)\n" }.joined()
    }
}

/// `docs/configuration.md` as a whole.
package enum ConfigurationReference {
    package static var document: String {
        """
        # Configuration

        Generated from the programs' own tables by `nodemeshctl config reference`.

        Each daemon puts its configuration together from, the weakest first, the defaults, a YAML file, environment
        variables and flags. A list from one source replaces that of a weaker one; in a variable or a flag its items
        stand with commas between them, and a flag may be repeated. An empty variable counts as not set. `--set KEY=VALUE`
        sets any key. Unknown keys and unknown variables with the daemon's prefix are refused, and all faults are told at
        once, each with its place, its key and what is allowed.

        `systemctl reload` (SIGHUP) reads everything again. With a fault, all stays as it was, and the log and
        `nodemeshctl config show` name the faults. Otherwise keys with "reload" take effect at once; what has changed and
        needs a restart is named in the log, in `nodemeshctl status` and by `nodemeshctl config show`.

        | | |
        |---|---|
        | `nodemeshctl config show` | the values in force and where each comes from; `--control` asks the control plane |
        | `nodemeshctl config validate FILE` | checks a file without a daemon; exits 1 with all faults |
        | `nodemeshctl config default` | the file with every key as a comment |


        """ + AgentConfiguration.table.reference
            + ControlConfiguration.table.reference.trimmingTrailingNewlines + "\n"
    }
}

extension String {
    fileprivate var trimmingTrailingNewlines: String {
        var text = self
        while text.last == "\n" { text.removeLast() }
        return text
    }
}
