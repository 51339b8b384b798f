// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshConfiguration
import UnixSignals

/// How a daemon that starts gets the node's identity: from its disk, or by joining, for which it waits as long as the
/// control plane is away.
struct FirstIdentity: Sendable {
    let join: NodeJoin
    let configuration: AgentConfiguration
    let supervision: Supervision
    let endings: Endings
    let logger: Logger

    /// More than what passes between two words to the service manager: a pause and a request.
    private static let patience = Duration.seconds(60)

    /// - Returns: nil when a signal has ended the wait.
    func find() async throws(ControlPlaneError) -> NodeCredentials? {
        do throws(ControlPlaneError) {
            return try await self.join.credentials(
                node: self.configuration.node, token: self.configuration.joinToken,
                fingerprint: self.configuration.caFingerprint)
        } catch {
            guard error.isTransient else { throw error }
            return try await self.wait(after: error)
        }
    }

    private func wait(after failure: ControlPlaneError) async throws(ControlPlaneError) -> NodeCredentials? {
        let waiting = Task { () -> Result<NodeCredentials, ControlPlaneError> in
            do throws(ControlPlaneError) {
                return .success(
                    try await self.join.credentials(
                        node: self.configuration.node, token: self.configuration.joinToken,
                        fingerprint: self.configuration.caFingerprint, retryingAfter: failure, onWait: self.say))
            } catch {
                return .failure(error)
            }
        }
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
        // Goes on for as long as the daemon does: signals that were caught once are not the kernel's any more, and the
        // services that watch for them come later.
        Task {
            for await _ in signals {
                self.endings.end(.stop)
                waiting.cancel()
            }
        }
        let outcome = await waiting.value
        return self.endings.ending == nil ? try outcome.get() : nil
    }

    private func say(_ failure: ControlPlaneError, _ pause: Duration) {
        self.logger.warning(
            "this node cannot join yet: waiting for the control plane",
            metadata: ["error": "\(failure)", "retry.after": "\(Int(pause.interval * 1000)) ms"])
        self.supervision.starting("waiting for the control plane, to join: \(failure)", within: Self.patience)
    }
}
