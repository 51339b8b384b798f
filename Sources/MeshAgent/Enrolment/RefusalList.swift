// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Synchronization

/// The workloads of this node that the control plane refused, and why.
final class RefusalList: Sendable {
    private let list = Mutex<[WorkloadID: String]>([:])

    var current: [WorkloadID: String] {
        get { self.list.withLock { $0 } }
        set { self.list.withLock { $0 = newValue } }
    }
}
