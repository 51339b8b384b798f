// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshConfiguration
import MeshDiscovery
import MeshIdentity
import MeshLinux
import MeshModel
import MeshProxy
import MeshSteering
import MeshTelemetry
import ServiceLifecycle
import UnixSignals

/// What parts tell the conductor. Of each kind only the latest counts.
struct News: Sendable {
    private static func make<T: Sendable>(_: T.Type) -> (AsyncStream<T>, AsyncStream<T>.Continuation) {
        let (stream, continuation) = AsyncStream.makeStream(of: T.self, bufferingPolicy: .bufferingNewest(1))
        return (stream, continuation)
    }

    let stateStream: AsyncStream<MeshState>
    let states: AsyncStream<MeshState>.Continuation
    let certificateStream: AsyncStream<[SPIFFEID: SVID]>
    let certificates: AsyncStream<[SPIFFEID: SVID]>.Continuation
    let registrationStream: AsyncStream<[WorkloadID: String]>
    let registrations: AsyncStream<[WorkloadID: String]>.Continuation

    init() {
        (self.stateStream, self.states) = Self.make(MeshState.self)
        (self.certificateStream, self.certificates) = Self.make([SPIFFEID: SVID].self)
        (self.registrationStream, self.registrations) = Self.make([WorkloadID: String].self)
    }
}

/// Carries news between the parts, enrols the workloads of the last run once the mesh is known, and looks after what
/// has to be looked after now and then.
struct Conductor: ServiceLifecycle.Service {
    let news: News
    let trustDomain: String
    let registry: WorkloadRegistry
    let views: ViewBuilder
    let certificates: CertificateManager
    let refusals: RefusalList
    let steering: Steering
    let telemetry: ConnectionTelemetry
    let proxy: Proxy
    let watch: CgroupWatch
    let reloader: Reloader
    let sockets: NamespaceSockets
    let upkeep: KernelUpkeep
    let canary: Canary
    let supervision: Supervision
    let handOver: HandOverLog
    let names: NameService?
    let logger: Logger

    /// How long a restarted daemon waits for its control plane before it takes its workloads back without a view: they
    /// can then register, and their mesh connects are refused until the view comes.
    private static let patience = Duration.seconds(10)
    private static let pruning = Duration.seconds(1)
    /// Kernel state that belongs to nobody is looked for once in so many rounds, which costs some calls per workload.
    private static let kernelPruning = 10
    private static let alarmInterval = 5

    func run() async throws {
        await cancelWhenGracefulShutdown {
            await withTaskGroup(of: Void.self) { group in
                group.addTask { for await state in self.news.stateStream { await self.views.update(state: state) } }
                group.addTask {
                    for await list in self.news.certificateStream { await self.views.update(certificates: list) }
                }
                group.addTask {
                    for await list in self.news.registrationStream {
                        await self.registered(refused: list)
                    }
                }
                group.addTask { await self.look() }
                group.addTask { await self.followCgroups() }
                group.addTask { await self.sing() }
                group.addTask { await self.followHangup() }
                group.addTask { await self.followRotation() }
            }
        }
        await self.canary.stop()
    }

    /// Certificates come after registration: the control plane signs only for what it knows to run here.
    private func registered(refused: [WorkloadID: String]) async {
        self.refusals.current = refused
        let (all, waiting) = (await self.registry.all, await self.registry.allWaiting)
        let known = all.map(\.request) + waiting.map(\.request)
        self.certificates.prune(keeping: Set(known.compactMap { $0.identity(in: self.trustDomain) }))
        let accepted = all.filter { refused[$0.id] == nil }
        self.certificates.setIdentities(Set(accepted.compactMap { $0.identity(in: self.trustDomain) }))
        self.certificates.retryFailed()
    }

    private func look() async {
        await self.waitForView()
        guard !Task.isCancelled else { return }
        do throws(SystemError) {
            try self.watch.start(logger: self.logger)
        } catch {
            self.logger.error("cgroups cannot be watched", metadata: ["reason": "\(error)"])
        }
        do throws(EnrolmentError) {
            try await self.registry.restore(files: self.reloader.files())
        } catch {
            self.logger.error("the workloads of the last run are not enrolled", metadata: ["reason": "\(error)"])
        }
        self.names?.adoptionComplete()
        self.handOver.completed(await self.proxy.adoptionComplete())
        self.supervision.ready(await self.summary())
        var round = 0
        while !Task.isCancelled {
            await self.registry.prune()
            // For the metrics, which do not wait for the loops.
            _ = await self.proxy.statistics()
            // Otherwise it may be what keeps a workload of the last run from speaking in clear text.
            if round % Self.kernelPruning == 0, await self.registry.knowsAll { await self.pruneKernel() }
            if round % Self.kernelPruning == 0 { self.upkeep.measureMaps() }
            self.upkeep.followProbes()
            await self.names?.look()
            let owners = await self.registry.all.map { entry in
                NamespaceSockets.Owner(entry, excludedPrefixes: [], outbound: [], inbound: [])
            }
            if await self.sockets.sweep(owners) { await self.registry.touch() }
            round += 1
            try? await Task.sleep(for: Self.pruning)
        }
    }

    /// The canary's tries: the first as soon as the mesh is known, after an alarm soon again. What it finds missing is put
    /// back; the alarm stays until the next try has found it there.
    private func sing() async {
        while !Task.isCancelled {
            let interval = self.reloader.configuration.canaryInterval
            let snapshot = await self.views.snapshot
            guard interval > 0, let snapshot, await self.registry.isRestored else {
                try? await Task.sleep(for: .seconds(1))
                continue
            }
            let (isWell, damaged) = await self.canary.look(snapshot)
            if !damaged.isEmpty { await self.registry.reattach(damaged) }
            try? await Task.sleep(for: .seconds(isWell ? interval : min(interval, Self.alarmInterval)))
        }
    }

    /// For people who ask the service manager.
    private func summary() async -> String {
        let (count, waiting) = (await self.registry.all.count, await self.registry.allWaiting.count)
        let view = await self.views.snapshot == nil ? "; no view of the mesh yet" : ""
        return "\(count) workloads enrolled, \(waiting) awaited\(view)"
    }

    private func followCgroups() async {
        for await change in self.watch.changes {
            await self.registry.look(at: change.paths, everywhere: change.isEverywhere)
        }
    }

    private func pruneKernel() async {
        // The registry has just looked, and holds their namespaces open.
        let known = Set(await self.registry.all.map(\.key) + [Canary.key])
        do throws(SteeringError) {
            try self.steering.pruneStale(keeping: known)
        } catch {
            self.logger.error("stale eBPF state remains", metadata: ["reason": "\(error)"])
        }
    }

    private func waitForView() async {
        let deadline = ContinuousClock.now + Self.patience
        while await self.views.snapshot == nil, ContinuousClock.now < deadline, !Task.isCancelled {
            try? await Task.sleep(for: .milliseconds(5))
        }
    }

    /// SIGUSR1: the access log was renamed away, and nothing else has changed.
    private func followRotation() async {
        for await _ in await UnixSignalsSequence(trapping: .sigusr1) {
            self.telemetry.accessLog.reopen()
            self.logger.info("reopened the access log")
        }
    }

    /// SIGHUP: the access log was renamed away, the configuration or an enrolment file has changed.
    private func followHangup() async {
        for await _ in await UnixSignalsSequence(trapping: .sighup) {
            self.telemetry.accessLog.reopen()
            self.logger.info("reopened the access log")
            self.supervision.reloading()
            self.reloader.reloadConfiguration()
            await self.registry.reload(self.reloader.files())
            self.supervision.ready(await self.summary())
        }
    }
}
