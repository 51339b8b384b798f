// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAPI
import MeshModel
import SwiftProtobuf
import Testing

@testable import MeshDiscovery

private func response(
    _ type: ResourceType, _ resources: [Envoy_Service_Discovery_V3_Resource] = [], removed: [String] = [],
    partial: Bool = false
) -> Response {
    .with {
        $0.typeURL = type.typeURL
        $0.nonce = "1"
        $0.resources = resources
        $0.removedResources = removed
        $0.systemVersionInfo = partial ? "1 partial" : "1"
    }
}

private func wire(_ resource: MeshResource, version: String = "v") throws -> Envoy_Service_Discovery_V3_Resource {
    let encoded = try resource.encoded()
    return .with {
        $0.name = encoded.name
        $0.version = version
        $0.resource.typeURL = resource.type.typeURL
        $0.resource.value = encoded.payload
    }
}

struct DeltaClientTests {
    private func connected(limits: DiscoveryLimits = .init()) -> Client {
        let client = Client(limits: limits)
        _ = client.connected()
        return client
    }

    @Test func `the first requests ask for all of every type, in order`() {
        let client = Client()
        let requests = client.connected()
        #expect(requests.map(\.typeURL) == ResourceType.allCases.map(\.typeURL))
        #expect(requests.map(\.node.id) == ["n1", "", "", "", ""])
        #expect(requests.allSatisfy { $0.resourceNamesSubscribe.isEmpty && $0.initialResourceVersions.isEmpty })
        #expect(!client.isConsistent)
    }

    @Test func `resources are held across streams and resumed from`() throws {
        let client = self.connected()
        let received = try client.received(
            response(.address, [try wire(.workload(Sample.workload())), try wire(.service(Sample.service()))]))
        #expect(received.isChanged)
        #expect(received.refused.isEmpty)
        #expect(received.reply.responseNonce == "1")
        #expect(!received.reply.hasErrorDetail)
        client.disconnected()
        #expect(client.state.workloads == [Sample.workload()])
        let request = try #require(client.connected().first { $0.typeURL == ResourceType.address.typeURL })
        #expect(
            request.initialResourceVersions
                == ["nodemesh/Workload/shop/web-1": "v", "shop/web.shop.mesh.internal": "v"])
        let gone = try client.received(response(.address, removed: ["shop/web.shop.mesh.internal", "never held"]))
        #expect(gone.isChanged)
        #expect(client.state.services == [])
        #expect(try !client.received(response(.address, removed: ["never held"])).isChanged)
    }

    @Test func `the state is whole when every type was told and none is half told`() throws {
        let client = self.connected()
        for type in ResourceType.allCases where type.isRequired {
            #expect(!client.isConsistent)
            _ = try client.received(response(type, partial: type == .address))
        }
        #expect(!client.isConsistent)
        _ = try client.received(response(.address))
        #expect(client.isConsistent)
        // A part of a later change makes it wait again; a broken stream does not lose what is held.
        _ = try client.received(response(.authorization, [try wire(.policy(Sample.policy()))], partial: true))
        #expect(!client.isConsistent)
        client.disconnected()
        _ = client.connected()
        #expect(client.isConsistent)
    }

    @Test func `dry-run policies come without being waited for, and never in the place of enforced ones`() throws {
        let client = self.connected()
        // An older control plane never answers for them.
        for type in ResourceType.allCases where type.isRequired { _ = try client.received(response(type)) }
        #expect(client.isConsistent)
        let nothing = try client.received(response(.dryRun))
        #expect(!nothing.isChanged)
        let dry = Sample.policy("dry", isDryRun: true)
        let brought = try client.received(response(.dryRun, [try wire(.policy(dry))]))
        #expect(brought.isChanged)
        #expect(client.state.policies == [dry])
        // Whatever the flag inside says: the type decides.
        var message = Nodemesh_V1_DryRunPolicy.with { $0.policy = .init(Sample.policy("x")) }
        var resource = try wire(.policy(Sample.policy("x", isDryRun: true)))
        resource.resource.value = try message.serializedBytes()
        _ = try client.received(response(.dryRun, [resource]))
        #expect(client.state.policies.filter { !$0.isDryRun } == [])
        // One that cannot be read is nothing to stand in for.
        message.policy.extensions = [.init()]
        message.policy.name = "y"
        resource.name = "shop/y"
        resource.resource.value = try message.serializedBytes()
        #expect(try client.received(response(.dryRun, [resource])).refused.count == 1)
        #expect(client.state.policies.count == 2)
    }

    @Test func `a bad resource is named, its previous version and the others stay`() throws {
        let client = self.connected()
        _ = try client.received(response(.node, [try wire(.node(Sample.node()))]))
        var bad = try wire(.node(Sample.node()), version: "v2")
        bad.resource.value = Data([0xff])
        let received = try client.received(response(.node, [bad, try wire(.node(Sample.node("n2")))]))
        #expect(received.refused.map(\.name) == ["n1"])
        #expect(received.reply.errorDetail.message.contains("n1"))
        #expect(client.state.nodes.map(\.name).sorted() == ["n1", "n2"])
        #expect(client.connected()[1].initialResourceVersions == ["n1": "v", "n2": "v"])
    }

    @Test func `a policy that cannot be read denies what it might have denied`() throws {
        func refuse(_ change: (inout Istio_Security_Authorization) -> Void) throws -> [AuthorizationPolicy] {
            let client = self.connected()
            var message = Istio_Security_Authorization(Sample.policy())
            message.dryRun = false
            message.extensions = [.init()]
            change(&message)
            var resource = try wire(.policy(Sample.policy()))
            resource.resource.value = try message.serializedBytes()
            #expect(try client.received(response(.authorization, [resource])).refused.count == 1)
            let policies = client.state.policies
            // A version that can be read takes its place, and removal ends it.
            _ = try client.received(response(.authorization, [try wire(.policy(Sample.policy()))]))
            #expect(client.state.policies == [Sample.policy()])
            _ = try client.received(response(.authorization, [resource]))
            #expect(client.state.policies == [Sample.policy()])
            _ = try client.received(response(.authorization, removed: ["shop/p"]))
            #expect(client.state.policies == [])
            return policies
        }
        let denyAll = AuthorizationPolicy(
            id: NamespacedName(namespace: "shop", name: "p"), scope: .namespace, action: .deny,
            rules: [.init(clauses: [])])
        var global = denyAll
        global.scope = .global
        #expect(try refuse { _ in } == [denyAll])
        #expect(try refuse { $0.scope = .UNRECOGNIZED(9) } == [denyAll])
        #expect(try refuse { $0.scope = .global } == [global])
        #expect(try refuse { $0.scope = .workloadSelector } == [])
        #expect(try refuse { $0.dryRun = true } == [])
    }

    @Test func `hostile resources are refused one by one`() throws {
        var limits = DiscoveryLimits()
        limits.nameBytes = 64
        limits.resourceBytes = 128
        limits.resources = 2
        let good = try wire(.node(Sample.node()))
        func changed(_ body: (inout Envoy_Service_Discovery_V3_Resource) -> Void) -> Envoy_Service_Discovery_V3_Resource
        {
            var resource = good
            body(&resource)
            return resource
        }
        let cases = [
            changed { $0.name = "" }, changed { $0.name = String(repeating: "n", count: 65) },
            changed { $0.version = String(repeating: "v", count: 65) },
            changed { $0.resource.typeURL = ResourceType.address.typeURL }, changed { $0.clearResource() },
            changed { $0.resource.value = Data(count: 129) }, changed { $0.name = "other" },
        ]
        for bad in cases {
            let client = self.connected(limits: limits)
            let received = try client.received(response(.node, [bad, try wire(.node(Sample.node("kept")))]))
            #expect(received.refused.count == 1, "\(bad)")
            #expect(received.reply.hasErrorDetail)
            #expect(client.state.nodes.map(\.name) == ["kept"])
        }
        let client = self.connected(limits: limits)
        #expect(try client.received(response(.node, [good, good])).refused.count == 1)
        let more = try client.received(
            response(.node, [try wire(.node(Sample.node("n2"))), try wire(.node(Sample.node("n3")))]))
        #expect(more.refused.map(\.name) == ["n3"])
    }

    @Test func `a NACK stays short`() throws {
        let client = self.connected()
        let bad = (0..<5000).map { index in
            Envoy_Service_Discovery_V3_Resource.with { $0.name = "\(index)" + String(repeating: "x", count: 1000) }
        }
        let received = try client.received(response(.node, bad))
        #expect(received.refused.count == 5000)
        #expect(received.reply.errorDetail.message.utf8.count < 8192)
        #expect(received.reply.errorDetail.message.hasSuffix("and 4990 more"))
    }

    @Test func `responses that end the stream`() throws {
        var limits = DiscoveryLimits()
        limits.names = 2
        let cases: [(Response, DiscoveryError.Code)] = [
            (response(.node, removed: ["a", "b", "c"]), .limitExceeded),
            (.with { $0.typeURL = "type.googleapis.com/other" }, .unexpected),
            (.with { $0.typeURL = ResourceType.node.typeURL }, .unexpected),
        ]
        for (response, code) in cases {
            let client = self.connected(limits: limits)
            #expect(throws: DiscoveryError(code, "")) { try client.received(response) }
        }
        var client = Client()
        #expect(throws: DiscoveryError(.unexpected, "")) { try client.received(response(.node)) }
        client = self.connected()
        client.disconnected()
        #expect(throws: DiscoveryError(.unexpected, "")) { try client.received(response(.node)) }
    }

    @Test func `client and server agree`() throws {
        var limits = DiscoveryLimits()
        limits.responseBytes = 500
        let client = self.connected()
        var server = ServerStream(limits: limits)
        var tables = Sample.tables()
        func run() throws {
            while let response = server.next(from: tables) {
                _ = try server.received(try client.received(response).reply)
            }
        }
        func set(_ resources: [MeshResource]) throws {
            for type in ResourceType.allCases {
                _ = tables[type]?.replace(with: try resources.filter { $0.type == type }.map { try $0.encoded() })
            }
        }
        let all =
            CodecTests.resources.filter { $0.type != .authorization && $0.type != .dryRun }
            + [.policy(Sample.policy())]
        try set(all + (0..<20).map { .workload(Sample.workload("w\($0)")) })
        for request in client.connected() { _ = try server.received(request) }
        try run()
        #expect(client.isConsistent)
        #expect(client.state.workloads.count == 21)
        #expect(client.state.settings == Sample.settings)
        // The server restarts with another view; the client resumes.
        try set(all)
        client.disconnected()
        server = ServerStream(limits: limits)
        for request in client.connected() { _ = try server.received(request) }
        try run()
        #expect(client.state.workloads == [Sample.workload()])
        #expect(client.state.policies == [Sample.policy()])
        #expect(client.isConsistent)
    }
}

struct DeltaClientKeepingOfDryRunsTests {
    /// Another control plane sends dry-run policies with the others; they come back as what they were.
    @Test func `what is kept of dry-run policies is taken back`() throws {
        var client = DeltaClient(node: "n1", trustDomain: "mesh.internal")
        _ = client.connected()
        _ = try client.received(response(.mesh, [try wire(.settings(Sample.settings))]))
        for type in [ResourceType.node, .address] { _ = try client.received(response(type)) }
        var foreign = try wire(.policy(Sample.policy("foreign")))
        foreign.resource.value = try Istio_Security_Authorization(Sample.policy("foreign", isDryRun: true))
            .serializedBytes()
        _ = try client.received(response(.authorization, [foreign]))
        // An older control plane's view has no dry-run policies at all.
        for hasOwn in [false, true] {
            if hasOwn {
                _ = try client.received(response(.dryRun, [try wire(.policy(Sample.policy("own", isDryRun: true)))]))
            }
            var next = DeltaClient(node: "n1", trustDomain: "mesh.internal")
            let refused = try next.restore(try client.kept(), revision: 0)
            #expect(refused == [])
            #expect(Set(next.state.policies) == Set(client.state.policies))
            #expect(next.isConsistent)
        }
    }
}
