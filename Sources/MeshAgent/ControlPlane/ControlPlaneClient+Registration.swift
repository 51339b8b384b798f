// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshModel
import Synchronization

extension ControlPlaneClient {
    private static let defaultHeartbeat: Duration = .seconds(10)

    /// Which roots the data plane trusts and which its certificates lead to: the control plane is told at once.
    package func setTrustReport(_ report: TrustReport) {
        let isNew = self.state.withLock { state in
            defer { state.report = report }
            return state.report != report
        }
        if isNew { self.registrar.withLock { $0 }?.ring() }
    }

    /// Makes this what the control plane knows of the node, now and after every reconnection.
    package func setRegistration(_ registration: NodeRegistration) {
        let isNew = self.state.withLock { state in
            guard state.registration != registration else { return false }
            state.registration = registration
            state.generation += 1
            return true
        }
        if isNew { self.registrar.withLock { $0 }?.ring() }
    }

    func keepRegistered(_ session: any ControlPlaneSession) async throws {
        let alarm = Alarm(clock: self.clock)
        self.registrar.withLock { $0 = alarm }
        defer { self.registrar.withLock { if $0 === alarm { $0 = nil } } }
        var registered: UInt64?
        var told = TrustReport()
        var interval = Self.defaultHeartbeat
        var nextHeartbeat = self.clock.now
        alarm.ring()
        for await _ in alarm.rings {
            let (registration, generation, report) = self.state.withLock {
                ($0.registration, $0.generation, $0.fullReport)
            }
            if let registration, registered != generation {
                let result = try await session.register(registration, generation: generation)
                registered = generation
                interval = result.heartbeatInterval ?? interval
                self.report(result, of: registration)
            } else if registered != nil, nextHeartbeat <= self.clock.now || told != report {
                let result = try await session.heartbeat(generation: generation, report: report)
                told = report
                interval = result.heartbeatInterval ?? interval
                if result.needsRegistration {
                    registered = nil
                    alarm.ring()
                }
            } else if registration == nil {
                // It rings when there is one.
                continue
            } else {
                alarm.ring(after: .seconds(max(0.01, nextHeartbeat.timeIntervalSince(self.clock.now))))
                continue
            }
            self.heard()
            nextHeartbeat = self.clock.now.addingTimeInterval(interval.interval)
            alarm.ring(after: interval)
        }
        try Task.checkCancellation()
    }

    private func report(_ result: RegistrationResult, of registration: NodeRegistration) {
        for (workload, reason) in result.refusals {
            self.logger.warning(
                "the control plane refused a workload",
                metadata: ["workload.id": "\(workload)", "error": "\(reason)"])
        }
        self.logger.debug("registered", metadata: ["workloads": "\(registration.workloads.count)"])
        self.handlers.registered(result.refusals)
    }
}
