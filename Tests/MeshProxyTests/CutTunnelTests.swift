// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import Synchronization
import Testing

@testable import MeshProxy

/// Tunnels that break off while they are made, as when the other node's daemon is killed.
struct CutTunnelTests {
    private static let service = NamespacedName(namespace: "prod", name: "api")
    private static let virtual = SocketAddress(ip: IPAddress(ipv4: 0xf0f0_0001), port: 80)

    private final class Counter: Sendable {
        private let value = Atomic(0)

        /// The number of the call, from 1 on.
        func next() -> Int { self.value.add(1, ordering: .relaxed).newValue }
        var count: Int { self.value.load(ordering: .relaxed) }
    }

    /// A mesh whose other node is an impostor that cuts the first tunnels in their handshake, and answers what comes
    /// through the next.
    private func mesh(cuts: Int, _ counter: Counter) throws -> (TestMesh, App) {
        let mesh = try TestMesh { $0.tunnelPool.makesSpare = false }
        let identity = try mesh.identity(TestMesh.server)
        let node = try App { wire in
            if counter.next() <= cuts {
                _ = try wire.read()
                wire.reset()
                return
            }
            let peer = try HostilePeer(accepted: wire, as: identity)
            try peer.secure()
            _ = try peer.receive(1)
            try wire.write(peer.data("HTTP/1.1 200 OK\r\n\r\nhello"))
            _ = try? wire.readToEnd()
        }
        return (mesh, node)
    }

    @Test(arguments: [false, true])
    func `the same endpoint is tried again when there is no other`(isService: Bool) async throws {
        let counter = Counter()
        let (mesh, node) = try self.mesh(cuts: 2, counter)
        try mesh.update { workloads, services, nodes in
            nodes[1] = Node(name: "b", addresses: [TestMesh.loopback], tunnelPort: node.address.port)
            guard isService else { return }
            services = [
                Service(
                    id: Self.service, addresses: [Self.virtual.ip],
                    ports: [PortMapping(servicePort: 80, targetPort: 80)])
            ]
            workloads[1].services = [Self.service: [PortMapping(servicePort: 80, targetPort: 9)]]
        }
        let destination = isService ? Self.virtual : SocketAddress(ip: TestMesh.loopback, port: 9)
        let wire = try mesh.dial(destination)
        try wire.write("question")
        #expect(try await onThread { try wire.read(exactly: 5) } == Array("hello".utf8))
        #expect(counter.count == 3)
        wire.reset()
        _ = try await mesh.a.closed(1)
    }

    @Test func `not for ever`() async throws {
        let counter = Counter()
        let (mesh, node) = try self.mesh(cuts: .max, counter)
        try mesh.update { _, _, nodes in
            nodes[1] = Node(name: "b", addresses: [TestMesh.loopback], tunnelPort: node.address.port)
        }
        let wire = try mesh.dial(SocketAddress(ip: TestMesh.loopback, port: 9))
        #expect(try await onThread { wire.endingError() } == ECONNRESET)
        #expect(try await mesh.a.closed(1)[0].reason == .tlsFailed)
        #expect(counter.count == 3)
    }
}
