// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

/// An outbound connection from shop/web to the service shop/backend, through a tunnel.
func record(_ id: UInt64, change: (inout ConnectionRecord) throws -> Void = { _ in }) throws -> ConnectionRecord {
    var record = ConnectionRecord(
        id: id, direction: .outbound, sourceAddress: try #require(SocketAddress("10.0.0.1:40000")),
        destination: try #require(SocketAddress("240.240.0.1:80")), wire: .splice,
        openedAt: 1_700_000_000_123_456_789)
    record.source = NamespacedName(namespace: "shop", name: "web")
    record.sourceIdentity = SPIFFEID("spiffe://mesh.internal/ns/shop/sa/web")
    record.service = NamespacedName(namespace: "shop", name: "backend")
    record.destinationWorkload = NamespacedName(namespace: "shop", name: "backend-1")
    record.destinationIdentity = SPIFFEID("spiffe://mesh.internal/ns/shop/sa/backend")
    try change(&record)
    return record
}
