// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshAdminAPI

extension LogLevels {
    /// The longest that a change may be asked to last (seconds): a year.
    private static let maxSeconds = 366 * 86_400

    /// Does what an operator asks for.
    ///
    /// - Throws: what is wrong with it.
    package func take(_ request: LogLevelRequest) throws(ErrorResponse) -> LogLevelSummary {
        var level: Logger.Level?
        if let name = request.level {
            level = Logger.Level(rawValue: name)
            if level == nil {
                let names = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
                throw ErrorResponse(error: "'\(name)' is no level; use one of \(names)")
            }
        }
        if let seconds = request.seconds, !(1...Self.maxSeconds).contains(seconds) {
            throw ErrorResponse(error: "'seconds' must be from 1 to \(Self.maxSeconds)")
        }
        try self.override(component: request.component, level: level, seconds: request.seconds)
        return self.summary
    }
}
