// SPDX-License-Identifier: Apache-2.0
import MeshModel

/// What a loop has adopted and what of it waits.
struct LoopAdoption {
    /// By a workload that is to be attached again. A connection may wait for two.
    var unclaimed: [WorkloadID: [Connection]] = [:]
    /// Connections that begin anew, by the inode of the namespace whose listeners are not open again yet.
    var captured: [UInt64: [Connection]] = [:]
    /// Tunnels whose handshake begins anew, until it is known which workloads there are.
    var securing: [Connection] = []
    /// What needs the first view, or a certificate.
    var unviewed: [Connection] = []
}
