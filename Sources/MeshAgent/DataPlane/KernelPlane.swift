// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshLinux
import MeshModel
import MeshProxy
import MeshSteering

/// Enrolment on the real kernel: listeners of the proxy and links of the eBPF programs.
package struct KernelPlane: WorkloadPlane {
    private let proxy: Proxy
    private let steering: Steering
    private let logger: Logger
    /// Ends what a workload has open past the proxy.
    private let willDetach: @Sendable (WorkloadID) async -> Void

    package init(
        proxy: Proxy, steering: Steering, logger: Logger,
        willDetach: @escaping @Sendable (WorkloadID) async -> Void = { _ in }
    ) {
        self.willDetach = willDetach
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
            listeners = try self.proxy.attach(id, key: key, namespace: workload.namespace)
        } catch {
            throw EnrolmentError(.kernel, "the capture listeners of workload \(id) cannot be opened: \(error)")
        }
        do {
            try self.steering.enrol(
                Enrolment(
                    key: key, id: id.description, cgroupPath: workload.cgroup.path, namespace: workload.namespace,
                    addresses: workload.addresses, inboundListeners: listeners.inboundDescriptors))
        } catch {
            self.proxy.detach(id)
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
        self.proxy.detach(id)
    }

    package func setGuard(_ cgroup: String) throws(EnrolmentError) {
    }

    package func removeGuard(_ cgroup: String) {
    }
}
