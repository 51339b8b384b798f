// SPDX-License-Identifier: Apache-2.0
import MeshModel
import Synchronization

extension Proxy {
    /// Connections that count against a workload's limits now; nil: it is not attached.
    package func openConnections(of id: WorkloadID) -> Int? {
        self.state.withLock { $0.members[id] }?.usage.openCount
    }
}
