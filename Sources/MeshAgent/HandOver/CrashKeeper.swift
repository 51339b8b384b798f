// SPDX-License-Identifier: Apache-2.0

import Glibc
import Logging
import MeshConfiguration
import MeshDNS
import MeshLinux
import MeshModel
import MeshProxy
import ServiceLifecycle
import Synchronization

/// Has the service manager keep what the next run needs if this one ends without a word: the listeners, at which
/// connects and queries for names then wait. Finds out as well whether it keeps anything.
final class CrashKeeper: ServiceLifecycle.Service {
    private let configuration: AgentConfiguration
    private let proxy: Proxy
    private let names: NameService?
    private let supervision: Supervision
    private let logger: Logger
    private let found = Mutex<StateStore?>(nil)
    private let changes: AsyncStream<Void>
    private let source: AsyncStream<Void>.Continuation

    /// Between a change and its storing, so that many enrolments are stored together.
    private static let debounce = Duration.milliseconds(100)

    init(
        _ configuration: AgentConfiguration, proxy: Proxy, names: NameService?, supervision: Supervision, logger: Logger
    ) {
        self.configuration = configuration
        self.proxy = proxy
        self.names = names
        self.supervision = supervision
        self.logger = logger
        (self.changes, self.source) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// nil: the service manager keeps nothing, or it is not known yet whether it does.
    var store: StateStore? { self.found.withLock { $0 } }

    /// Workloads came or went.
    func listenersChanged() { self.source.yield() }

    func run() async throws {
        let manager = self.supervision.manager
        guard manager != nil, let store = try? await onThread({ StateStore(manager) }) else {
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
        for shelf in [StateStore.Shelf.first, .second] { try? store.clear(shelf) }
        await cancelWhenGracefulShutdown {
            var (next, last) = (StateStore.Shelf.first, StateStore.Shelf.second)
            self.source.yield()
            for await _ in self.changes {
                do {
                    let shelf = next
                    try await onThread { try self.keepListeners(in: store, on: shelf) }
                    try store.clear(last)
                    (next, last) = (last, next)
                } catch {
                    self.logger.warning(
                        "listeners are not kept for the case of a crash", metadata: ["reason": "\(error)"])
                }
                try? await Task.sleep(for: Self.debounce)
            }
        }
    }

    private func keepListeners(in store: StateStore, on shelf: StateStore.Shelf) throws {
        let state = self.proxy.listenerState()
        let names = self.names?.server.carried()
        let label = HandOverLabel(
            kind: .crash, format: HandOverFormat.versions.upperBound, version: Version.text,
            node: self.configuration.node, instance: self.configuration.instance, frozenAt: 0, carried: 0, tunnels: 0,
            listeners: state.summary.listeners, drained: [:],
            names: HandOverLabel.Names(names))
        try store.put(try Parcel.pack(state, names, label), on: shelf)
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
