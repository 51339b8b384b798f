// SPDX-License-Identifier: Apache-2.0

import Logging

/// From which weight on log lines are written, the lightest first.
package enum LogLevel: String, Sendable, CaseIterable { case trace, debug, info, notice, warning, error }

extension LogLevel {
    package var loggerLevel: Logger.Level {
        switch self {
        case .trace: .trace
        case .debug: .debug
        case .info: .info
        case .notice: .notice
        case .warning: .warning
        case .error: .error
        }
    }
}
