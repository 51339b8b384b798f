// SPDX-License-Identifier: Apache-2.0

import Glibc
import Logging
import MeshConfiguration
import MeshDNS
import MeshLinux
import MeshModel
import MeshProxy
import MeshTelemetry
import ServiceLifecycle
import Synchronization

/// Has the service manager keep what the next run needs if this one ends without a word: the listeners, at which
/// connects and queries for names then wait, and established connections that need nothing but the kernel. Finds out as
/// well whether it keeps anything.
final class CrashKeeper: ServiceLifecycle.Service {
    private let configuration: AgentConfiguration
    private let proxy: Proxy
    private let names: NameService?
    private let supervision: Supervision
    private let logger: Logger
    /// Holds what this start has kept of the listeners.
    private let occupied: StateStore.Shelf?
    private let found = Mutex<StateStore?>(nil)
    private let changes: AsyncStream<Void>
    private let source: AsyncStream<Void>.Continuation

    /// Between a change and its storing, so that many enrolments are stored together.
    private static let debounce = Duration.milliseconds(100)
    /// Between two looks at which connections there are.
    private static let look = Duration.seconds(1)
    /// Connections that come and go are stored for a fifth of the time at most.
    private static let share = 5
    /// Connections that are kept at most. While they are copied each takes two descriptors more, which must not be those
    /// of new connections.
    private let limit = min(8192, ProcessLimits.raiseDescriptorLimit() / 40)

    private let last = Mutex(Last())

    /// The last storing.
    private struct Last {
        var kept = 0
        var left = 0
        var duration = Duration.zero
    }

    init(
        _ configuration: AgentConfiguration, proxy: Proxy, names: NameService?, supervision: Supervision,
        occupied: StateStore.Shelf?, logger: Logger
    ) {
        self.configuration = configuration
        self.proxy = proxy
        self.names = names
        self.supervision = supervision
        self.logger = logger
        self.occupied = occupied
        (self.changes, self.source) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// nil: the service manager keeps nothing, or it is not known yet whether it does.
    var store: StateStore? { self.found.withLock { $0 } }

    /// Workloads came or went.
    func listenersChanged() { self.source.yield() }

    func run() async throws {
        let manager = self.supervision.manager
        guard manager != nil, let store = await self.makeStore(manager) else {
            if manager != nil {
                self.logger.warning(
                    "the service manager keeps no descriptors: a restart ends all connections; set FileDescriptorStoreMax="
                )
            }
            return try await gracefulShutdown()
        }
        self.found.withLock { $0 = store }
        self.logger.info("the service manager keeps descriptors: a restart or an upgrade loses no connection")
        // What a daemon that was taken over from has left there.
        for shelf in StateStore.running where shelf != self.occupied { try? store.clear(shelf) }
        await cancelWhenGracefulShutdown {
            self.source.yield()
            await withTaskGroup { group in
                group.addTask { await self.watchConnections() }
                group.addTask { await self.keep(in: store) }
            }
        }
    }

    private func makeStore(_ manager: ServiceManager?) async -> StateStore? {
        // It holds something of this run already: no time is lost with finding out.
        if let manager, self.occupied != nil { return StateStore(proven: manager) }
        return try? await onThread { StateStore(manager) }
    }

    func watch(_ registry: MetricsRegistry) {
        registry.collect(
            "nodemesh_crash_kept_connections", .gauge,
            help:
                "Established connections that go on if this nodemeshd is killed, and those beyond the number that is kept.",
            labels: ["state"]
        ) {
            let last = self.last.withLock { $0 }
            return [(["kept"], Double(last.kept)), (["left"], Double(last.left))]
        }
    }

    /// Connections that come to be worth keeping say nothing of it.
    private func watchConnections() async {
        while !Task.isCancelled {
            let duration = self.last.withLock { $0.duration }
            try? await Task.sleep(for: max(Self.look, duration * Self.share))
            if await self.proxy.hasOthersToKeep() { self.source.yield() }
        }
    }

    private func keep(in store: StateStore) async {
        var (next, last) = (StateStore.Shelf.first, StateStore.Shelf.second)
        var listeners = self.occupied
        for await _ in self.changes {
            let begin = ContinuousClock.now
            do {
                let shelf = next
                let (kept, left) = await self.proxy.keptState(limit: self.limit, without: [Canary.id])
                try await onThread {
                    try store.keep(kept.state, self.names?.server.carried(), self.configuration, on: shelf)
                }
                try store.clear(last)
                if let shelf = listeners.take() { try store.clear(shelf) }
                (next, last) = (last, next)
                let duration = ContinuousClock.now - begin
                self.last.withLock {
                    $0 = Last(kept: kept.state.summary.carried, left: left, duration: duration)
                }
            } catch {
                self.logger.warning(
                    "nothing new is kept for the case of a crash", metadata: ["reason": "\(error)"])
            }
            try? await Task.sleep(for: Self.debounce)
        }
    }
}

extension Parcel {
    /// The state and the names keep their descriptors.
    ///
    /// - Parameter names: those that the label tells of.
    static func pack(
        _ state: borrowing ProxyState, _ names: CarriedNames?, _ label: HandOverLabel
    ) throws(SystemError) -> Parcel {
        var parcel: Parcel?
        let descriptors = state.descriptors + (names?.descriptors ?? [])
        // They are open as long as the object.
        defer { withExtendedLifetime(names) {} }
        try state.withUnsafeBytes { bytes throws(SystemError) in
            parcel = try Parcel.pack(label: label.encoded(), bytes, descriptors)
        }
        guard let packed = parcel.take() else { throw SystemError(call: "a parcel", errno: EINVAL) }
        return packed
    }
}
