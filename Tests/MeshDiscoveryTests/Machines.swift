// SPDX-License-Identifier: Apache-2.0

@testable import MeshDiscovery

// The testing macros cannot call mutating functions of a variable: these hold one machine each.

final class ServerStream {
    private var machine: DeltaServerStream

    init(limits: DiscoveryLimits = .init()) { self.machine = DeltaServerStream(limits: limits) }

    func received(_ request: Request) throws(DiscoveryError) -> DeltaServerStream.Received {
        try self.machine.received(request)
    }

    func next(from tables: [ResourceType: ResourceTable]) -> Response? { self.machine.next(from: tables) }
}

final class Client {
    private var machine: DeltaClient

    init(limits: DiscoveryLimits = .init()) {
        self.machine = DeltaClient(node: "n1", trustDomain: "mesh.internal", limits: limits)
    }

    func connected() -> [Request] { self.machine.connected() }
    func disconnected() { self.machine.disconnected() }
    func received(_ response: Response) throws(DiscoveryError) -> DeltaClient.Received {
        try self.machine.received(response)
    }
    var isConsistent: Bool { self.machine.isConsistent }
    var state: MeshState { self.machine.state }
}

final class Table {
    private var table: ResourceTable

    init(logLength: Int) { self.table = ResourceTable(logLength: logLength) }

    func replace(with resources: [DiscoveryResource]) -> Bool { self.table.replace(with: resources) }
    func update(upserting: [DiscoveryResource], removing: [String]) -> Bool {
        self.table.update(upserting: upserting, removing: removing)
    }
    func changes(after generation: UInt64) -> [String]? { self.table.changes(after: generation) }
    var generation: UInt64 { self.table.generation }
}
