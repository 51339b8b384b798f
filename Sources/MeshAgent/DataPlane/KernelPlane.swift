// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshLinux
import MeshModel
import MeshProxy
import MeshSteering
import Synchronization

/// Enrolment on the real kernel: listeners of the proxy and links of the eBPF programs.
package final class KernelPlane: WorkloadPlane {
    private let proxy: Proxy
    private let steering: Steering
    private let ports: NamespaceSockets
    /// Nil: names are not answered on this node.
    private let names: NameService?
    private let logger: Logger
    /// Ends what a workload has open past the proxy.
    private let willDetach: @Sendable (WorkloadID) async -> Void
    /// The proxy may have other listeners than before.
    private let didChange: @Sendable () -> Void
    /// Workloads whose listeners are there.
    private let attached = Mutex<Set<WorkloadID>>([])

    /// The programs take so many addresses of a workload; those beyond are reached through the proxy by itself too.
    private static let maximumAddresses = 16

    package init(
        proxy: Proxy, steering: Steering, ports: NamespaceSockets, names: NameService? = nil, logger: Logger,
        didChange: @escaping @Sendable () -> Void = {},
        willDetach: @escaping @Sendable (WorkloadID) async -> Void = { _ in }
    ) {
        self.ports = ports
        self.names = names
        self.willDetach = willDetach
        self.didChange = didChange
        self.proxy = proxy
        self.steering = steering
        self.logger = logger
    }

    package func attach(
        _ id: WorkloadID, key: UInt32, workload: InspectedWorkload, options: SteeringOptions
    ) async throws(EnrolmentError) {
        // Listeners come first: from the moment the programs are attached, connects are sent to them.
        let listeners: WorkloadListeners
        do throws(ProxyError) {
            listeners = try self.proxy.attach(
                id, key: key, namespace: workload.namespace, isShared: options.isShared)
        } catch {
            throw EnrolmentError(.kernel, "the capture listeners of workload \(id) cannot be opened: \(error)")
        }
        defer { self.didChange() }
        do {
            var enrolment = Enrolment(
                key: key, id: id.description, cgroupPath: workload.cgroup.path, namespace: workload.namespace,
                addresses: Array(workload.addresses.prefix(Self.maximumAddresses)),
                inboundListeners: listeners.inboundDescriptors)
            enrolment.isShared = options.isShared
            enrolment.isGuarded = options.isGuarded
            enrolment.failMode = options.failsOpen.map { $0 ? .open : .closed }
            enrolment.excludedPrefixes = options.excludedPrefixes
            enrolment.excludedOutboundPorts = options.excludedOutboundPorts
            enrolment.excludedInboundPorts = options.excludedInboundPorts
            enrolment.answersOriginalDestination = options.answersOriginalDestination
            enrolment.isAccelerated = options.isAccelerated
            enrolment.hasNamesAnswered = options.hasNamesAnswered && self.names != nil
            try self.steering.enrol(enrolment)
            if options.hasNamesAnswered { self.names?.attach(id, key: key, namespace: workload.namespace) }
            // What listened before: the programs know only of what begins to listen from now on.
            if options.isShared { await self.ports.adopt(key, cgroup: workload.cgroup.path, in: workload.namespace) }
            self.attached.withLock { _ = $0.insert(id) }
        } catch {
            // One that was attached before stays as it was.
            if !self.attached.withLock({ $0.contains(id) }) { self.proxy.detach(id) }
            throw EnrolmentError(.kernel, "\(error)")
        }
    }

    package func detach(_ id: WorkloadID, key: UInt32) async {
        // The programs tell how its direct connections end, so they go before the programs.
        await self.willDetach(id)
        // The other way round: while the programs are attached and nobody listens, connects are refused.
        do throws(SteeringError) {
            try self.steering.unenrol(key)
        } catch {
            // It stays steered to nobody, which is closed; the next start of the daemon clears it.
            self.logger.error(
                "a workload could not be unsteered", metadata: ["workload.id": "\(id)", "reason": "\(error)"])
        }
        self.attached.withLock { _ = $0.remove(id) }
        self.names?.detach(id)
        self.proxy.detach(id)
        self.didChange()
    }

    package func setGuard(_ cgroup: String) throws(EnrolmentError) {
        do throws(SteeringError) {
            try self.steering.setGuard(cgroupPath: cgroup)
        } catch {
            throw EnrolmentError(.kernel, "\(error)")
        }
    }

    package func removeGuard(_ cgroup: String) {
        do throws(SteeringError) {
            try self.steering.removeGuard(cgroupPath: cgroup)
        } catch {
            // The guard of a cgroup that is gone went with it.
            guard error.code != .vanished else { return }
            self.logger.error(
                "a guard could not be removed", metadata: ["workload.cgroup": "\(cgroup)", "reason": "\(error)"])
        }
    }

    package func formerKeys() -> [UInt64: UInt32] {
        // The canary's is its own.
        self.steering.formerKeys().filter { $0.value < Canary.key }
    }
}
