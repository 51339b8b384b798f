// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// Runs one command line from parsing to exit status.
package enum Launcher {
    /// - Parameter arguments: the command line without the program's name.
    /// - Returns: the process's exit status, an `CommandStatus` raw value.
    package static func run(_ arguments: [String]) async -> Int32 {
        let console = CLIContext.current.console
        var command: any ParsableCommand
        do {
            command = try await Nodemeshctl.asyncParseAsRoot(arguments)
        } catch {
            return Self.report(error, parsing: arguments, to: console)
        }
        do {
            if var verb = command as? any AsyncParsableCommand {
                try await verb.run()
            } else {
                try command.run()
            }
            return CommandStatus.success.rawValue
        } catch let error as CLIError {
            console.writeError(error.text)
            return error.status.rawValue
        } catch let status as CommandStatus {
            return status.rawValue
        } catch {
            return Self.report(error, to: console)
        }
    }

    /// Help, versions, completion scripts and mistakes on the command line, which ArgumentParser throws.
    private static func report(_ error: any Error, parsing arguments: [String]? = nil, to console: any Console) -> Int32
    {
        var text = Nodemeshctl.fullMessage(for: error)
        let code = Nodemeshctl.exitCode(for: error)
        if code.isSuccess {
            do {
                try console.write(text.isEmpty ? "" : text + "\n")
                return CommandStatus.success.rawValue
            } catch {
                console.writeError(error.text)
                return error.status.rawValue
            }
        }
        // A misspelt option comes before what is missing for that reason.
        if !text.hasPrefix("Error: Unknown option"), let arguments,
            let unknown = UnknownOption(in: arguments, of: Nodemeshctl.self)
        {
            text = "Error: \(unknown)" + (text.firstRange(of: "\nUsage: ").map { text[$0.lowerBound...] } ?? "")
        }
        if !text.isEmpty { console.writeError(text + "\n") }
        return code == .validationFailure ? CommandStatus.usage.rawValue : CommandStatus.failed.rawValue
    }
}

/// A verb throws a status when its data is the whole answer and nothing is left to say.
extension CommandStatus: Error {}
