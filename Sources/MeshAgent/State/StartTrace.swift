// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshLinux
import Synchronization

/// Tells in the debug log how far the daemon's start has come, in milliseconds since the process was made.
package final class StartTrace: Sendable {
    private let logger: Logger
    /// Of the process, by ``Clock/monotonic``.
    private let begin: UInt64
    private let told = Mutex<Set<String>>([])
    /// A daemon that runs for months is not to remember every number of workloads it ever had.
    private static let limit = 32

    package init(logger: Logger) {
        self.logger = logger
        self.begin = ProcessStart.monotonic ?? Clock.monotonic
    }

    /// Each step is told once.
    package func reached(_ step: String) {
        guard self.told.withLock({ $0.count < Self.limit && $0.insert(step).inserted }) else { return }
        let milliseconds = (Clock.monotonic &- self.begin) / 1_000_000
        self.logger.debug("start", metadata: ["reached": "\(step)", "milliseconds": "\(milliseconds)"])
    }
}
