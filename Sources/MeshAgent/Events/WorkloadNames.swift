// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Synchronization

/// Whose number is whose: events of the kernel name workloads by key. Written by enrolment, read by the thread that
/// reads events; a workload that is gone keeps its name while events of it may still come.
package final class WorkloadNames: Sendable {
    package struct Name: Sendable, Hashable {
        package let workload: String
        package let identity: String?
    }

    private struct State {
        var names: [UInt32: Name] = [:]
        var gone: [UInt32] = []
    }

    /// Names of so many that are gone are kept.
    private static let limit = 1024

    private let trustDomain: String
    private let state = Mutex(State())

    package init(trustDomain: String) {
        self.trustDomain = trustDomain
    }

    package func set(_ key: UInt32, workload: WorkloadID, serviceAccount: String) {
        let identity = SPIFFEID(
            trustDomain: self.trustDomain,
            subject: .workload(namespace: workload.namespace, serviceAccount: serviceAccount))
        let name = Name(workload: workload.description, identity: identity?.description)
        self.state.withLock { $0.names[key] = name }
    }

    package func remove(_ key: UInt32) {
        self.state.withLock { state in
            state.gone.append(key)
            if state.gone.count > Self.limit { state.names[state.gone.removeFirst()] = nil }
        }
    }

    package func name(_ key: UInt32) -> Name? { key == 0 ? nil : self.state.withLock { $0.names[key] } }
}
