// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import MeshConfiguration

/// The first word of a command line that looks like an option and is none of its command.
///
/// ArgumentParser finds those only in a command line that is right otherwise: of a misspelt option it says that the one
/// meant is missing.
struct UnknownOption: CustomStringConvertible {
    let word: String
    /// What it may have been meant to be.
    let near: String?

    var description: String {
        "Unknown option '\(self.word)'" + (self.near.map { ". Did you mean '\($0)'?" } ?? "")
    }

    /// nil: there is none.
    ///
    /// - Parameter arguments: the command line without the program's name.
    init?(in arguments: [String], of root: any ParsableCommand.Type) {
        guard let tool = try? JSONDecoder().decode(Tool.self, from: Data(root._dumpHelp().utf8)) else { return nil }
        var command = tool.command
        // Of every command on the way: those of the root stand after its verbs too.
        var known = command.arguments ?? []
        var isValue = false
        for word in arguments {
            if word == "--" { return nil }
            guard word.hasPrefix("-"), word != "-", Double(word) == nil else {
                defer { isValue = false }
                if !isValue, let next = command.subcommands?.first(where: { $0.isCalled(word) }) {
                    command = next
                    known += command.arguments ?? []
                }
                continue
            }
            let name = String(word.prefix { $0 != "=" })
            guard let option = known.first(where: { $0.matches(name) }) else {
                if Self.builtIn.contains(name) { continue }
                let names = known.flatMap(\.words).filter { $0.hasPrefix("--") }
                (self.word, self.near) = (name, NearName.of(name, among: names))
                return
            }
            isValue = option.kind == "option" && option.words.contains(word)
        }
        return nil
    }

    /// Of the library, for every command.
    private static let builtIn: Set<String> = [
        "--generate-completion-script", "--experimental-dump-help", "--help-hidden", "-help",
    ]

    /// What `--experimental-dump-help` prints, as far as it is of use here.
    private struct Tool: Decodable {
        var command: Command
    }

    private struct Command: Decodable {
        var commandName: String
        var aliases: [String]?
        var subcommands: [Command]?
        var arguments: [Argument]?

        func isCalled(_ word: String) -> Bool { self.commandName == word || self.aliases?.contains(word) == true }
    }

    private struct Argument: Decodable {
        struct Name: Decodable {
            var kind: String
            var name: String
        }

        var kind: String
        var names: [Name]?

        /// As they stand on a command line.
        var words: [String] { self.names?.map { ($0.kind == "long" ? "--" : "-") + $0.name } ?? [] }

        /// Also with what follows a short name in the same word: its value, or other short names.
        func matches(_ name: String) -> Bool {
            self.words.contains { $0 == name || !name.hasPrefix("--") && $0.count == 2 && name.hasPrefix($0) }
        }
    }
}
