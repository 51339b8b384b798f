// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Synchronization

/// Which servers the kernel gives connections of a workload to an address already, where others get a share too: those
/// that it leaves to the proxy are that share, so the proxy must not choose the same servers again. Read by loops.
final class DirectShares: Sendable {
    private struct Key: Hashable {
        var source: UInt32
        var dialled: SocketAddress
    }

    private let servers = Mutex<[Key: Set<WorkloadID>]>([:])

    /// - Parameter servers: empty: none, or all connections go to them.
    func set(_ source: UInt32, _ dialled: SocketAddress, _ servers: Set<WorkloadID>) {
        self.servers.withLock { $0[Key(source: source, dialled: dialled)] = servers.isEmpty ? nil : servers }
    }

    func servers(_ source: UInt32, _ dialled: SocketAddress) -> Set<WorkloadID> {
        self.servers.withLock { $0.isEmpty ? [] : $0[Key(source: source, dialled: dialled)] ?? [] }
    }
}
