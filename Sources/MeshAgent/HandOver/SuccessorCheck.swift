// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshLinux
import MeshProxy

/// What the program that the next start runs can read: a package may have put another one in this one's place.
package enum SuccessorCheck {
    /// The verb by which nodemeshd says what it reads.
    package static let verb = "hand-over-formats"
    private static let timeout = 5000

    /// What ``verb`` prints.
    package static var line: String {
        "\(HandOverFormat.versions.lowerBound) \(HandOverFormat.versions.upperBound)"
    }

    /// The newest format that this program writes and the next one reads.
    static func format(logger: Logger) async -> Result<Int, AgentError> {
        let own = HandOverFormat.versions
        let path = CommandLine.arguments.first ?? ""
        // Started by a name alone: where the next start finds its program is not for this one to guess.
        guard path.hasPrefix("/"), ProcessImage.isReplaced(by: path) else { return .success(own.upperBound) }
        let output: String
        do {
            let result = try await onThread { try ChildProcess.run(path, [Self.verb], timeout: Self.timeout) }
            output = result.code == 0 ? result.output : ""
        } catch {
            return .failure(AgentError("\(path) was replaced and does not run: \(error)"))
        }
        return Self.format(in: output, own: own).map { format in
            logger.info("another program is in this one's place", metadata: ["path": "\(path)", "format": "\(format)"])
            return format
        }.mapError { AgentError("\(path) was replaced, and the new one \($0)") }
    }

    /// - Parameter output: of the next program's ``verb``.
    static func format(in output: String, own: ClosedRange<Int>) -> Result<Int, AgentError> {
        let numbers = output.split(whereSeparator: \.isWhitespace).map { Int($0) }
        guard numbers.count == 2, let oldest = numbers[0], let newest = numbers[1], oldest <= newest else {
            return .failure(AgentError("does not say which formats it reads"))
        }
        let format = min(newest, own.upperBound)
        guard format >= max(oldest, own.lowerBound) else {
            return .failure(
                AgentError(
                    "reads formats \(oldest) to \(newest), this one writes \(own.lowerBound) to \(own.upperBound)"))
        }
        return .success(format)
    }
}
