// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshIdentity
import Synchronization

/// The node's own certificate.
extension ControlPlaneClient {
    /// Returns when the certificate was renewed.
    func renew(_ session: any ControlPlaneSession) async throws {
        var backoff = Backoff(initial: .seconds(1), maximum: .seconds(150))
        let credentials = self.credentials
        // Not at once, however short the certificate's life is: each renewal costs a new session.
        let due = max(
            credentials.svid.renewalTime(jitter: self.clock.jitter()), self.clock.now.addingTimeInterval(5))
        while true {
            let now = self.clock.now
            if now < due, !self.state.withLock({ $0.isSuperseded }) {
                // In steps: a timer stands still while the machine sleeps, the wall clock does not.
                try await self.clock.sleep(for: .seconds(min(5, max(0.01, due.timeIntervalSince(now)))))
                continue
            }
            do {
                let svid = try await session.obtain(
                    credentials.svid.identity, key: IdentityKey(), validity: nil, bundle: self.credentials.bundle,
                    now: { self.clock.now })
                self.keep { $0.svid = svid }
                self.logger.info(
                    "the node's certificate was renewed",
                    metadata: ["serial": "\(svid.serial)", "expires": "\(svid.notAfter)"])
                return
            } catch {
                try Task.checkCancellation()
                self.state.withLock { $0.status.lastError = "\(error)" }
                self.logger.error(
                    "the node's certificate could not be renewed",
                    metadata: ["expires": "\(credentials.svid.notAfter)", "error": "\(error)"])
                try await self.clock.sleep(for: backoff.next(jitter: self.clock.jitter()))
            }
        }
    }

    /// Changes the credentials in use, and on disk. What cannot be written is used all the same, and written with the
    /// next change.
    func keep(_ change: (inout NodeCredentials) -> Void) {
        self.saving.withLock { _ in
            var new = self.credentials
            change(&new)
            self.state.withLock { $0.credentials = new }
            do throws(ControlPlaneError) {
                try self.store.save(new)
                self.faults.clear("node")
            } catch {
                self.faults.report("node", error.message)
            }
        }
    }
}
