// SPDX-License-Identifier: Apache-2.0

import Glibc
import Logging
import MeshConfiguration
import MeshLinux
import MeshSteering
import Synchronization

/// The running daemon's half of a take-over, up to the moment at which it has to stop: waits for a new daemon, and
/// agrees with it how.
final class TakeOverServer: Sendable {
    /// Milliseconds.
    private static let helloPatience = 5000
    /// Within which the new daemon has prepared itself; it may have to join first.
    private static let preparation = 120_000

    private let own: TakeOverMessage.Hello
    private let environment: [String: String]
    private let cgroup: String
    private let listener: PacketListener
    private let runLock: LockHolder
    private let steering: Steering
    private let endings: Endings
    private let logger: Logger
    /// Has the locks, and has not asked for the state yet.
    private let preparing = Mutex<Successor?>(nil)

    /// - Parameters:
    ///   - cgroup: the daemon's.
    ///   - environment: of the service manager's variables, what the successor needs.
    init(
        _ configuration: AgentConfiguration, cgroup: String, environment: [String: String], runLock: LockHolder,
        steering: Steering, endings: Endings, logger: Logger
    ) throws(SystemError) {
        self.own = .own(configuration)
        self.cgroup = cgroup
        self.environment = environment.filter { ["NOTIFY_SOCKET", "WATCHDOG_USEC"].contains($0.key) }
        self.listener = try PacketListener(path: configuration.handOverPath)
        self.runLock = runLock
        self.steering = steering
        self.endings = endings
        self.logger = logger
    }

    func start() throws(SystemError) {
        let thread = try OSThread(name: "nm-handover") { [self] in
            while true {
                do {
                    guard let connection = try self.listener.accept() else { return }
                    if try self.serve(connection) { return }
                } catch {
                    self.logger.warning("a take-over did not come about", metadata: ["reason": "\(error)"])
                }
            }
        }
        thread.detach()
    }

    /// Ends whoever prepares to take over, too: it would hold the locks when the next daemon starts.
    func stop() {
        self.listener.stop()
        self.preparing.withLock { $0.take() }?.end(isTold: false)
    }

    /// - Returns: whether this daemon ends now.
    private func serve(_ connection: consuming PacketConnection) throws -> Bool {
        let peer = try connection.peer()
        guard peer.uid == geteuid(),
            case .hello(let hello)? = try connection.receiveMessage(milliseconds: Self.helloPatience)?.message
        else {
            self.logger.warning("a stranger at the hand-over socket", metadata: ["process.pid": "\(peer.pid)"])
            return false
        }
        switch TakeOverMessage.answer(to: hello, own: self.own) {
        case .refused(let reason, let drains):
            try connection.send(.refused(reason: reason, drains: drains))
            self.logger.warning(
                drains ? "another nodemeshd cannot take over: connections are drained for it" : "no take-over",
                metadata: ["reason": "\(reason)", "process.pid": "\(peer.pid)"])
            if drains { self.endings.end(.drain(reason: reason)) }
            return drains
        case .accepted(var answer):
            (answer.cgroup, answer.environment) = (self.cgroup, self.environment)
            let run = try self.runLock.duplicate()
            let kernel = try self.steering.duplicateLock()
            let successor = try Successor(of: connection, pid: peer.pid, logger: self.logger)
            try connection.send(.accepted(answer), [run.raw, kernel.raw])
            self.preparing.withLock { $0 = successor }
            self.logger.info(
                "another nodemeshd prepares to take over",
                metadata: ["version": "\(hello.version)", "process.pid": "\(peer.pid)"])
            guard try self.isReady(connection, successor) else { return false }
            self.endings.end(
                .takeOver(
                    TakeOverRequest(
                        connection: connection, successor: successor, format: answer.format, version: hello.version,
                        pid: peer.pid)))
            return true
        default: return false
        }
    }
}

extension TakeOverServer {
    /// Waits until the new daemon asks for the state. One that never does is gone afterwards.
    private func isReady(_ connection: borrowing PacketConnection, _ successor: Successor) throws(SystemError) -> Bool {
        var isSilent = false
        do throws(SystemError) {
            if case .give? = try connection.receiveMessage(milliseconds: Self.preparation)?.message {
                // Not for ``stop()`` any more, unless that has come first.
                return self.preparing.withLock { $0.take() } != nil
            }
        } catch {
            guard error.errno == ETIMEDOUT else { throw error }
            isSilent = true
        }
        let reason = isSilent ? "not within \(Self.preparation / 1000) s" : "it went away, or said something else"
        self.logger.warning("the new nodemeshd did not get ready to take over", metadata: ["reason": "\(reason)"])
        self.preparing.withLock { $0.take() }?.end(isTold: !isSilent)
        return false
    }
}

/// Keeps a locked descriptor open as long as somebody holds this.
final class LockHolder: Sendable {
    private let descriptor: FileDescriptor

    init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }

    /// A further holder of the same lock.
    func duplicate() throws(SystemError) -> FileDescriptor { try self.descriptor.duplicate() }
}
