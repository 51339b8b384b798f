// SPDX-License-Identifier: Apache-2.0

import Logging
import ServiceLifecycle

/// Tells the service manager that all is well, as often as it wants to hear it, and only while every part turns: so a
/// stuck loop gets the daemon restarted.
struct Watchdog: ServiceLifecycle.Service {
    let supervision: Supervision
    /// Within which the manager must hear something.
    let interval: Duration
    let pulse: PulseCheck
    let logger: Logger

    func run() async throws {
        await cancelWhenGracefulShutdown {
            var silent: [String] = []
            while !Task.isCancelled {
                let found = await self.pulse.silent(after: self.interval / 4)
                if Task.isCancelled { return }
                if found.isEmpty {
                    self.supervision.beat()
                    if !silent.isEmpty { self.logger.notice("every part of the daemon answers again") }
                } else if found != silent {
                    self.logger.error(
                        "parts of the daemon do not answer; the service manager will end it unless they do soon",
                        metadata: ["parts": "\(found.joined(separator: ", "))", "watchdog": "\(self.interval)"])
                }
                silent = found
                try? await Task.sleep(for: self.interval / 4)
            }
        }
    }
}
