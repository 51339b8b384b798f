// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshLinux

/// A process that is about to take over, which has this one's locks already and may have its state. One that does not
/// come to an end of it may hang, and hold what the next start needs; or it may go on when nobody expects it any more.
/// So it has to be gone before anybody else is the daemon.
final class Successor: Sendable {
    private let process: PeerProcess
    private let pid: Int32
    private let logger: Logger

    /// Milliseconds that one has to end by itself once it was told, by the end of the connection or an answer; and in
    /// which a killed one is gone.
    private static let grace = 2000
    private static let patience = 5000

    init(of connection: borrowing PacketConnection, pid: Int32, logger: Logger) throws(SystemError) {
        self.process = try PeerProcess(of: connection)
        self.pid = pid
        self.logger = logger
    }

    /// Returns once it is gone, or cannot be made to go.
    ///
    /// - Parameter isTold: it knows that it will not take over, and may end by itself.
    func end(isTold: Bool) {
        do throws(SystemError) {
            guard try self.process.end(grace: isTold ? Self.grace : 0, milliseconds: Self.patience) else { return }
            self.logger.warning(
                "killed the nodemeshd that was to take over: it held the locks of this one",
                metadata: ["process.pid": "\(self.pid)"])
        } catch {
            self.logger.error(
                "the nodemeshd that was to take over does not end; kill it, it holds the locks of this one",
                metadata: ["process.pid": "\(self.pid)", "reason": "\(error)"])
        }
    }
}
