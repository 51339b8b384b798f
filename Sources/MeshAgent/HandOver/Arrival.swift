// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshConfiguration
import MeshDNS
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
    /// The queue of the parcel from the store that is being adopted.
    private var queue: FileDescriptor?
    /// Where the listeners can be kept while that is in the store still; then where they are.
    private var freeShelf = StateStore.Shelf.listeners
    private(set) var occupied: StateStore.Shelf?
    /// Of the daemon that hands over.
    private(set) var cgroup: String?
    /// This process's, with what the daemon before had of its service manager.
    private(set) var environment: [String: String]

    /// How long another daemon may take to end its connections and itself.
    private static let drainPatience = Duration.seconds(60)
    /// A lock may outlive the process that had it for a moment.
    private static let lockPatience = Duration.seconds(3)
    /// Starts that may fail over a state from the store before it is given up: it may be what they fail over.
    private static let attempts = 5

    init(_ configuration: AgentConfiguration, logger: Logger) {
        let environment = ProcessInfo.processInfo.environment
        self.init(configuration, environment, InheritedDescriptors(environment: environment), logger: logger)
    }

    init(
        _ configuration: AgentConfiguration, _ environment: [String: String],
        _ inherited: consuming InheritedDescriptors, logger: Logger
    ) {
        self.configuration = configuration
        self.logger = logger
        self.environment = environment
        self.inherited = inherited
        self.stored = Set(self.inherited.names.filter { $0.hasPrefix(StateStore.prefix) })
        self.takeOver = nil
        self.kernelLock = nil
        self.queue = nil
        self.occupied = nil
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

    /// The state of the daemon before; nil when there is none. From here on connections stand still. What the service
    /// manager has stays whole until ``willRun(_:_:_:)``: should this start end before, the next one finds it again.
    mutating func receive(_ manager: ServiceManager?) throws(AgentError) -> Inheritance? {
        if let takeOver = self.takeOver.take() { return try takeOver.receive(self.configuration) }
        guard self.mayTry(manager) else { return nil }
        for shelf in [.state] + StateStore.running {
            guard let parcel = StateStore.take(shelf, from: &self.inherited) else { continue }
            do throws(ParcelError) {
                let inheritance = try self.open(parcel)
                self.freeShelf = shelf == .listeners ? .otherListeners : .listeners
                return inheritance
            } catch {
                self.logger.error(
                    "what the last run has left cannot be used: its connections end",
                    metadata: ["reason": "\(error)", "shelf": "\(shelf.rawValue)"])
            }
        }
        return nil
    }

    private mutating func open(_ parcel: consuming Parcel) throws(ParcelError) -> Inheritance {
        let queue: FileDescriptor
        do throws(SystemError) {
            queue = try parcel.reader.duplicate()
        } catch {
            // What cannot be declared out of date must not be begun with.
            Parcel.empty(parcel.reader)
            throw ParcelError("its queue cannot be held: \(error)")
        }
        let inheritance = try Inheritance(opening: parcel, self.configuration)
        self.queue = consume queue
        return inheritance
    }

    /// Notes in the store that this start tries its luck with what is there.
    private func mayTry(_ manager: ServiceManager?) -> Bool {
        guard let manager, !self.stored.isEmpty else { return true }
        let begun = self.inherited.names.count { $0 == StateStore.begun }
        guard begun < Self.attempts else {
            self.logger.error(
                "what the last run has left is given up, and its connections end: nodemeshd ended each time that it was adopted",
                metadata: ["attempts": "\(begun)"])
            return false
        }
        do throws(SystemError) {
            // Any that is no other's: the manager keeps one file once.
            let pipe = try Pipe(capacity: 4096).release()
            let reader = FileDescriptor(owning: pipe.read)
            Linux.close(pipe.write)
            try manager.store([reader.raw], as: StateStore.begun)
        } catch {
            self.logger.debug("a start cannot be counted", metadata: ["reason": "\(error)"])
        }
        return true
    }

    /// What was received begins to change, so that nobody can start from it again. Has the service manager keep the
    /// listeners instead.
    mutating func willRun(_ listeners: borrowing ProxyState, _ names: CarriedNames?, _ manager: ServiceManager?) {
        guard let queue = self.queue.take() else { return }
        if let manager {
            let store = StateStore(proven: manager)
            do throws(SystemError) {
                try store.clear(self.freeShelf)
                try store.keep(listeners, names, self.configuration, on: self.freeShelf)
                self.occupied = self.freeShelf
            } catch {
                self.logger.warning(
                    "the listeners are not kept yet for the case of a crash", metadata: ["reason": "\(error)"])
            }
        }
        Parcel.empty(queue)
    }

    /// Lets the service manager close its copies of what was received.
    func forgetStored(_ supervision: Supervision) {
        let kept = Set(self.occupied?.parts ?? [])
        for name in self.stored.union([StateStore.begun]) where !kept.contains(name) {
            try? supervision.manager?.removeStored(name)
        }
    }
}
