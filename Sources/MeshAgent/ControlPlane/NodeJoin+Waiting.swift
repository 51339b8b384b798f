// SPDX-License-Identifier: Apache-2.0

extension NodeJoin {
    /// As ``credentials(node:token:fingerprint:)``, but goes on asking while the control plane cannot be reached.
    ///
    /// - Parameters:
    ///   - failure: of the request before.
    ///   - onWait: is told before each pause why there is one, and how long it is.
    /// - Throws: what more requests cannot change, or the last failure when the task is cancelled.
    package func credentials(
        node: String, token: String?, fingerprint: String?, retryingAfter failure: ControlPlaneError,
        onWait: @Sendable (ControlPlaneError, Duration) -> Void
    ) async throws(ControlPlaneError) -> NodeCredentials {
        var failure = failure
        var backoff = Backoff(initial: .milliseconds(500), maximum: .seconds(15))
        while failure.isTransient, !Task.isCancelled {
            let pause = backoff.next(jitter: self.clock.jitter())
            onWait(failure, pause)
            do { try await self.clock.sleep(for: pause) } catch { break }
            do throws(ControlPlaneError) {
                return try await self.credentials(node: node, token: token, fingerprint: fingerprint)
            } catch {
                failure = Self.explained(error)
            }
        }
        throw failure
    }

    /// A request without an answer may have been heard all the same.
    private static func explained(_ failure: ControlPlaneError) -> ControlPlaneError {
        guard failure.code == .tokenRefused else { return failure }
        return ControlPlaneError(
            failure.code, "\(failure.message); if this node has used it, then in a request whose answer did not arrive")
    }
}
