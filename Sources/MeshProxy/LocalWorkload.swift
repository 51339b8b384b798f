// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import MeshModel
import Synchronization

/// A workload whose connections this node carries.
final class LocalWorkload: Sendable {
    let id: WorkloadID
    /// The number under which eBPF knows it.
    let key: UInt32
    /// Where its sockets live; nil: the process's own namespace.
    let namespace: NetworkNamespace?
    /// Of the namespace: which workloads share listeners.
    let inode: UInt64
    /// Of the namespace, as eBPF knows it.
    let cookie: UInt64
    /// A small number, unique among attached ones, at least 1.
    let slot: UInt16
    let usage = WorkloadUsage()
    private let shared: Atomic<Bool>

    /// Other workloads and other processes may share its namespace, so that an address does not name it.
    var isShared: Bool {
        get { self.shared.load(ordering: .relaxed) }
        set { self.shared.store(newValue, ordering: .relaxed) }
    }

    init(
        id: WorkloadID, key: UInt32, slot: UInt16, namespace: NetworkNamespace?, inode: UInt64, cookie: UInt64,
        isShared: Bool
    ) {
        self.id = id
        self.key = key
        self.slot = slot
        self.namespace = namespace
        self.inode = inode
        self.cookie = cookie
        self.shared = Atomic(isShared)
    }
}

/// A listening socket, shared by its loop and ``Proxy``; closed when both have forgotten it.
final class Listener: Sendable {
    enum Kind: Sendable {
        /// Of the namespace with that inode.
        case outbound(UInt64)
        case inbound(UInt64)
        case tunnel
    }

    let kind: Kind
    let descriptor: FileDescriptor
    let address: SocketAddress

    init(kind: Kind, descriptor: consuming FileDescriptor, address: SocketAddress) {
        self.kind = kind
        self.descriptor = descriptor
        self.address = address
    }
}
