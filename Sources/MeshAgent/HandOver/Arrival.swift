// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshConfiguration
import MeshLinux
import MeshProxy

/// The begin of a daemon: where its connections come from, if there are any yet. Either the service manager has kept
/// them, or a running daemon hands them over. Its calls block: nothing else of the daemon runs yet.
struct Arrival: ~Copyable {
    private let configuration: AgentConfiguration
    private let logger: Logger
    private var inherited: InheritedDescriptors
    /// Names under which the service manager has kept something of the last run.
    private let stored: Set<String>
    private var takeOver: TakeOver?
    private var kernelLock: FileDescriptor?
    /// Of the daemon that hands over.
    private(set) var cgroup: String?
    /// This process's, with what the daemon before had of its service manager.
    private(set) var environment: [String: String]

    /// How long another daemon may take to end its connections and itself.
    private static let drainPatience = Duration.seconds(60)
    /// A lock may outlive the process that had it for a moment.
    private static let lockPatience = Duration.seconds(3)

    init(_ configuration: AgentConfiguration, logger: Logger) {
        let environment = ProcessInfo.processInfo.environment
        self.configuration = configuration
        self.logger = logger
        self.environment = environment
        self.inherited = InheritedDescriptors(environment: environment)
        self.stored = Set(self.inherited.names.filter { $0.hasPrefix(StateStore.prefix) })
        self.takeOver = nil
        self.kernelLock = nil
        self.cgroup = nil
    }

    /// Makes this the daemon of its run directory: alone there, or about to take over.
    ///
    /// - Returns: the lock, which ends with the daemon, however it ends.
    mutating func claim(takesOver: Bool) async throws(AgentError) -> LockHolder {
        var patience = Self.lockPatience
        if takesOver, try self.lock() == nil {
            switch try TakeOver.ask(self.configuration) {
            case .accepted(let takeOver):
                return try self.begin(takeOver)
            case .drains(let reason):
                self.logger.warning(
                    "cannot take over: the running nodemeshd drains its connections and ends first",
                    metadata: ["reason": "\(reason)"])
                patience = Self.drainPatience
            }
        }
        let deadline = ContinuousClock.now + patience
        while true {
            if let lock = try self.lock() { return lock }
            guard ContinuousClock.now < deadline else {
                throw AgentError(
                    "another nodemeshd runs with run directory \(self.configuration.runDirectory); give each its own"
                        + " --run-dir, or replace it with --take-over")
            }
            try? await Task.sleep(for: .milliseconds(50))
        }
    }

    private mutating func begin(_ takeOver: consuming TakeOver) throws(AgentError) -> LockHolder {
        do throws(SystemError) {
            let lock = LockHolder(try takeOver.runLock.duplicate())
            self.kernelLock = try takeOver.steeringLock.duplicate()
            self.logger.info(
                "taking over from a running nodemeshd", metadata: ["version": "\(takeOver.answer.version)"])
            self.environment.merge(takeOver.answer.environment) { $1 }
            self.cgroup = takeOver.answer.cgroup
            self.takeOver = consume takeOver
            return lock
        } catch {
            throw AgentError("cannot take over: \(error)")
        }
    }

    /// nil: another daemon has it.
    private func lock() throws(AgentError) -> LockHolder? {
        let path = self.configuration.runDirectory
        do throws(SystemError) {
            guard let descriptor = try FileTree.lock(directory: path) else { return nil }
            return LockHolder(descriptor)
        } catch {
            throw AgentError("\(path) cannot be locked: \(error)")
        }
    }

    /// The other daemon's lock of the kernel state, once; nil: there is no other.
    mutating func steeringLock() -> FileDescriptor? { self.kernelLock.take() }

    /// The state of the daemon before; nil when there is none. From here on connections stand still.
    mutating func receive() throws(AgentError) -> Inheritance? {
        if let takeOver = self.takeOver.take() { return try takeOver.receive(self.configuration) }
        for shelf in [StateStore.Shelf.state, .first, .second] {
            guard let parcel = StateStore.take(shelf, from: &self.inherited) else { continue }
            do throws(ParcelError) {
                return try Inheritance(opening: parcel, self.configuration)
            } catch {
                self.logger.error(
                    "what the last run has left cannot be used: its connections end",
                    metadata: ["reason": "\(error)", "shelf": "\(shelf.rawValue)"])
            }
        }
        return nil
    }

    /// Lets the service manager close its copies of what was received.
    func forgetStored(_ supervision: Supervision) {
        for name in self.stored { try? supervision.manager?.removeStored(name) }
    }
}
