// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshLinux
import Synchronization

/// What the daemon tells its service manager, if it has one.
struct Supervision: Sendable {
    let manager: ServiceManager?
    /// Within which the manager must hear ``beat()``; nil: it does not care.
    let watchdogInterval: Duration?
    private let logger: Logger
    private let isFailing = Flag()

    private final class Flag: Sendable {
        private let value = Atomic(false)
        /// - Returns: whether it was another before.
        func set(_ new: Bool) -> Bool { self.value.exchange(new, ordering: .relaxed) != new }
    }

    init(environment: [String: String] = ProcessInfo.processInfo.environment, logger: Logger) {
        self.manager = ServiceManager(environment: environment)
        self.watchdogInterval = self.manager == nil ? nil : ServiceManager.watchdogInterval(environment: environment)
        self.logger = logger
    }

    /// The start takes longer than usual, but goes on: it ends, or this is called again, within that time.
    func starting(_ status: String, within duration: Duration) {
        self.notify(.status(status), .extendTimeout(UInt64(max(0, duration.components.seconds)) * 1_000_000))
    }

    /// The workloads of the last run are enrolled.
    func ready(_ status: String) { self.notify(.ready, .status(status)) }

    /// From now until the next ``ready(_:)`` the configuration is read again.
    func reloading() { self.notify(.reloading) }

    func stopping(_ status: String) { self.notify(.stopping, .status(status)) }

    func status(_ text: String) { self.notify(.status(text)) }

    func beat() { self.notify(.watchdog) }

    private func notify(_ notices: ServiceManager.Notice...) {
        guard let manager = self.manager else { return }
        do throws(SystemError) {
            try manager.notify(notices)
            _ = self.isFailing.set(false)
        } catch {
            // Once: the watchdog would say it for ever.
            if self.isFailing.set(true) {
                self.logger.warning("the service manager cannot be told", metadata: ["reason": "\(error)"])
            }
        }
    }
}
