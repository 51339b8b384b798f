// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshDiscovery
import MeshModel
import MeshResources
import MeshStore
import ServiceLifecycle
import Synchronization

/// Keeps what nodes are told in step with the store: computes the mesh anew after changes and hands it to discovery,
/// which sends only what differs.
package actor MeshPublisher {
    private let store: Store
    private let liveness: NodeLiveness
    private let discovery: DiscoveryServer
    private let settings: @Sendable () throws -> MeshSettings
    private let metrics: ControlMetrics
    private let logger: Logger
    private let debounce: Debounce

    /// Decoded resources, so that a change costs the decoding of what changed.
    private var cache: [ResourceKey: (version: Int64, resource: Resource)] = [:]
    private var current: Published?

    private struct Published {
        var revision: Int64
        var liveness: UInt64
        var projection: MeshProjection
    }

    private let bell: AsyncStream<Void>.Continuation
    private let bells: AsyncStream<Void>
    private let lastCounts = Mutex<[String: Int]>([:])
    private let lastChange = Mutex<ContinuousClock.Instant>(.now)

    package init(
        store: Store, liveness: NodeLiveness, discovery: DiscoveryServer,
        settings: @escaping @Sendable () throws -> MeshSettings,
        metrics: ControlMetrics, logger: Logger
    ) {
        self.store = store
        self.liveness = liveness
        self.discovery = discovery
        self.settings = settings
        self.metrics = metrics
        self.logger = logger
        self.debounce = Debounce()
        (self.bells, self.bell) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    }

    /// How many of each kind of thing were published last.
    package nonisolated var counts: [String: Int] { self.lastCounts.withLock { $0 } }

    /// Something that nodes see may be different now. Returns at once.
    package nonisolated func changed() {
        self.lastChange.withLock { $0 = .now }
        self.bell.yield()
    }

    /// The mesh as it stands in the store now; publishes it if it is new.
    package func view() async throws -> MeshProjection {
        let snapshot = try await self.store.snapshot()
        let liveness = self.liveness.generation
        // Another call may have read a later snapshot while this one waited.
        if let current, current.revision > snapshot.revision { return current.projection }
        let settings = try self.settings()
        if let current, current.revision == snapshot.revision, current.liveness == liveness,
            current.projection.settings == settings
        {
            return current.projection
        }
        let begin = ContinuousClock.now
        do {
            let resources = try self.decode(snapshot.resources)
            let projection = try MeshProjection(
                snapshot: snapshot, resources: resources, alive: self.liveness.alive,
                settings: settings)
            self.discovery.set(
                try projection.discoveryResources(), revision: UInt64(clamping: snapshot.revision))
            self.current = Published(revision: snapshot.revision, liveness: liveness, projection: projection)
            self.lastCounts.withLock {
                $0 = [
                    "node": projection.nodes.count, "workload": projection.workloads.count,
                    "unhealthy_workload": projection.workloads.count { !$0.isHealthy },
                    "service": projection.services.count, "policy": projection.policies.count,
                ]
            }
            self.metrics.published(true, seconds: (ContinuousClock.now - begin).seconds)
            return projection
        } catch {
            self.metrics.published(false, seconds: (ContinuousClock.now - begin).seconds)
            throw error
        }
    }

    /// The mesh as it stands, and as it would with other resources. Nothing is stored or published.
    func proposal(
        _ change: @Sendable ([DecodedResource]) -> [DecodedResource]
    ) async throws -> (present: MeshProjection, proposed: MeshProjection) {
        let snapshot = try await self.store.snapshot()
        let resources = try self.decode(snapshot.resources)
        let alive = self.liveness.alive
        let settings = try self.settings()
        return (
            try MeshProjection(snapshot: snapshot, resources: resources, alive: alive, settings: settings),
            try MeshProjection(snapshot: snapshot, resources: change(resources), alive: alive, settings: settings)
        )
    }

    private func decode(_ records: [ResourceRecord]) throws -> [DecodedResource] {
        var fresh: [ResourceKey: (version: Int64, resource: Resource)] = [:]
        fresh.reserveCapacity(records.count)
        let decoded = try records.map { record in
            let resource: Resource
            if let known = self.cache[record.key], known.version == record.version {
                resource = known.resource
            } else {
                do {
                    resource = try Resource(canonicalJSON: record.json)
                } catch {
                    throw ControlError("the stored \(record.key) cannot be read (\(error)): apply or delete it again")
                }
            }
            fresh[record.key] = (record.version, resource)
            return DecodedResource(resource: resource, addresses: record.addresses, created: record.created)
        }
        self.cache = fresh
        return decoded
    }
}

extension MeshPublisher: ServiceLifecycle.Service {
    package func run() async throws {
        self.changed()
        await cancelWhenGracefulShutdown {
            for await _ in self.bells {
                await self.waitForQuiet()
                do {
                    _ = try await self.view()
                } catch {
                    if Task.isCancelled { return }
                    // Nodes keep the last view: nothing half right is ever sent.
                    self.logger.error("the mesh cannot be published", metadata: ["error": "\(error)"])
                    try? await Task.sleep(for: .seconds(1))
                    self.bell.yield()
                }
            }
        }
    }

    private func waitForQuiet() async {
        let first = ContinuousClock.now
        while true {
            let due = self.debounce.due(first: first, last: self.lastChange.withLock { $0 })
            if due <= .now { return }
            do { try await Task.sleep(until: due) } catch { return }
        }
    }
}
