// SPDX-License-Identifier: Apache-2.0

/// From which weight on log lines are written, the lightest first.
package enum LogLevel: String, Sendable, CaseIterable { case trace, debug, info, notice, warning, error }
