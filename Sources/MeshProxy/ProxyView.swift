// SPDX-License-Identifier: Apache-2.0
import MeshModel
import MeshTunnel

/// Everything a loop decides by, at one moment. Loops swap it whole between two turns.
package final class ProxyView: Sendable {
    package let snapshot: MeshSnapshot
    /// The certificates of this node's workloads, as far as they are here yet.
    package let identities: [WorkloadID: TLSIdentity]

    package init(snapshot: MeshSnapshot, identities: [WorkloadID: TLSIdentity]) {
        self.snapshot = snapshot
        self.identities = identities
    }
}
