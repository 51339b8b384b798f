// SPDX-License-Identifier: Apache-2.0
import Logging
import MeshLinux
import MeshModel
import Synchronization

/// Answers DNS inside the network namespaces of workloads, on one thread of its own.
///
/// Any thread may call anything here; what has to be done on the thread is handed in through a queue.
package final class NameServer: Sendable {
    typealias Job = @Sendable (NameLoop) -> Void

    struct State {
        var jobs: [Job] = []
        var isEnded = true
        /// Somebody wanted it to end.
        var isStopped = false
        /// By inode of their namespace.
        var listeners: [UInt64: NameListeners] = [:]
        /// Of the server before, until their namespace is attached.
        var inherited: [UInt64: CarriedNames.Space] = [:]
        /// What a frozen loop has left.
        var clients: [UInt64: [CarriedNames.Client]] = [:]
    }

    private let configuration: NameServerConfiguration
    private let hooks: NameServerHooks
    private let logger: Logger
    private let wakeUp: WakeUp
    private let home: NetworkNamespace
    let state = Mutex(State())
    private let thread = Mutex<OSThread?>(nil)

    package init(
        configuration: NameServerConfiguration, hooks: NameServerHooks, logger: Logger
    ) throws(SystemError) {
        self.configuration = configuration
        self.hooks = hooks
        self.logger = logger
        self.wakeUp = try WakeUp()
        self.home = try NetworkNamespace.ofProcess()
    }

    package func start() throws(SystemError) {
        let loop = try NameLoop(self.configuration, self.hooks, home: self.home, logger: self.logger)
        try loop.watchWakeUp(self.wakeUp.raw)
        // Made here, used on the thread alone.
        nonisolated(unsafe) let core = loop
        self.state.withLock { state in
            state.isEnded = false
            state.isStopped = false
        }
        try self.thread.withLock { thread throws(SystemError) in
            thread = try OSThread(name: "nm-names") { [self] in
                core.run { self.takeJobs(isLast: false) }
                self.state.withLock { $0.clients = core.left }
                for job in self.takeJobs(isLast: true) { job(core) }
            }
        }
    }

    /// Answers what has come, for a short while, and ends. Names are then asked of their resolvers.
    package func stop() {
        self.end { $0.stop() }
        self.state.withLock { state in (state.listeners, state.inherited) = ([:], [:]) }
    }

    /// Waits for the thread.
    func end(_ last: @escaping Job) {
        self.state.withLock { $0.isStopped = true }
        self.submit(last)
        if let thread = self.thread.withLock({ $0.take() }) { thread.join() }
    }

    /// What the mesh looks like now.
    package func update(_ snapshot: MeshSnapshot) {
        let zone = MeshZone(
            snapshot: snapshot, domain: self.configuration.domain, aliases: self.configuration.aliases,
            timeToLive: self.configuration.timeToLive)
        self.submit { $0.resolver.zone = zone }
    }

    // MARK: Namespaces

    /// Answers in a namespace from now on. Asking again gives the same.
    ///
    /// - Returns: the TCP listeners for ``Steering/setResolvers(_:ipv4:ipv6:)``; they stay this object's.
    /// - Throws: what could not be opened, and why.
    package func attach(_ namespace: NetworkNamespace) throws(NameServerError) -> (ipv4: CInt, ipv6: CInt?) {
        if let known = self.state.withLock({ $0.listeners[namespace.inode] }) { return known.streamDescriptors }
        let ports = self.configuration.ports
        let isHome = namespace.inode == self.home.inode
        let carried = self.state.withLock { $0.inherited.removeValue(forKey: namespace.inode) }
        let open: @Sendable () throws(SystemError) -> Result<NameListeners, NameServerError> = {
            () throws(SystemError) in
            do throws(NameServerError) {
                return .success(
                    try NameListeners(
                        ports: ports, namespace: isHome ? nil : namespace, carried: carried?.sockets ?? []))
            } catch {
                return .failure(error)
            }
        }
        let result: Result<NameListeners, NameServerError>
        do throws(SystemError) {
            result = isHome ? try open() : try namespace.run(open)
        } catch {
            carried?.retire()
            throw NameServerError("its network namespace cannot be entered: \(error)")
        }
        let listeners: NameListeners
        do throws(NameServerError) {
            listeners = try result.get()
        } catch {
            carried?.retire()
            throw error
        }
        let inode = namespace.inode
        self.state.withLock { $0.listeners[inode] = listeners }
        self.submit { $0.add(listeners, inode: inode, clients: carried?.clients ?? []) }
        return listeners.streamDescriptors
    }

    package func detach(_ inode: UInt64) {
        guard self.state.withLock({ $0.listeners.removeValue(forKey: inode) }) != nil else { return }
        self.submit { $0.remove(inode: inode) }
    }

    // MARK: Operators

    /// Looks a name up as if a workload had asked.
    package func lookup(_ question: DNSQuestion, by asker: Asker) async -> NameLookup? {
        await withCheckedContinuation { continuation in
            let isTaken = self.submit { loop in
                loop.lookup(question, by: asker) { continuation.resume(returning: $0) }
            }
            if !isTaken { continuation.resume(returning: nil) }
        }
    }

    package func status() async -> NameServerStatus? {
        await withCheckedContinuation { continuation in
            let isTaken = self.submit { continuation.resume(returning: $0.status) }
            if !isTaken { continuation.resume(returning: nil) }
        }
    }

    @discardableResult
    func submit(_ job: @escaping Job) -> Bool {
        let isTaken = self.state.withLock { state in
            if state.isEnded { return false }
            state.jobs.append(job)
            return true
        }
        if isTaken { self.wakeUp.signal() }
        return isTaken
    }

    private func takeJobs(isLast: Bool) -> [Job] {
        self.wakeUp.clear()
        return self.state.withLock { state in
            defer { state.jobs = [] }
            if isLast { state.isEnded = true }
            return state.jobs
        }
    }
}

/// Why names cannot be answered somewhere, in words for the operator.
package struct NameServerError: Error, Equatable, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}
