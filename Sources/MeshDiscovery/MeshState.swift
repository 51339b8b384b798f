// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// What a node was told about the mesh, at one moment. The lists are in no order.
package struct MeshState: Sendable, Hashable {
    /// nil until they arrived.
    package var settings: MeshSettings?
    package var nodes: [Node] = []
    package var policies: [AuthorizationPolicy] = []
    package var workloads: [Workload] = []
    package var services: [Service] = []

    package init() {}
}
