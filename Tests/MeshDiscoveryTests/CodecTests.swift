// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAPI
import MeshModel
import SwiftProtobuf
import Testing

@testable import MeshDiscovery

struct CodecTests {
    static let resources: [MeshResource] = [
        .settings(Sample.settings), .node(Sample.node()), .policy(Sample.policy()),
        .policy(Sample.policy(scope: .global)), .policy(Sample.policy(scope: .workloadSelector)),
        .policy(Sample.policy(isDryRun: true)), .workload(Sample.workload()), .service(Sample.service()),
    ]

    @Test(arguments: Self.resources)
    func `a value survives the wire`(resource: MeshResource) throws {
        let encoded = try resource.encoded()
        #expect(encoded.name == resource.name)
        #expect(try resource.encoded() == encoded)
        let decoded = try MeshResource.decode(
            resource.type, name: encoded.name, payload: encoded.payload, trustDomain: "other")
        #expect(decoded == resource)
    }

    @Test func `names and aliases are the ecosystem's`() throws {
        var workload = Sample.workload()
        #expect(try MeshResource.workload(workload).encoded().aliases == [])
        workload.isHostNetwork = false
        let encoded = try MeshResource.workload(workload).encoded()
        #expect(encoded.name == "nodemesh/Workload/shop/web-1")
        #expect(encoded.aliases == ["/10.0.0.1"])
        #expect(try MeshResource.service(Sample.service()).encoded().name == "shop/web.shop.mesh.internal")
        #expect(try MeshResource.policy(Sample.policy()).encoded().name == "shop/p")
        #expect(try MeshResource.settings(Sample.settings).encoded().name == "mesh")
    }

    @Test func `what a workload leaves out gets the mesh's defaults`() throws {
        let message = Istio_Workload_Workload.with {
            $0.uid = "cluster//Pod/shop/web"
            $0.name = "web"
            $0.namespace = "shop"
        }
        let workload = try Workload(message, trustDomain: "mesh.internal")
        #expect(workload.identity?.description == "spiffe://mesh.internal/ns/shop/sa/default")
        #expect(workload.tunnel == .none)
        #expect(workload.capacity == 1)
        #expect(workload.isHealthy)
    }

    typealias Change<Message> = (field: String, body: (inout Message) -> Void)

    @Test func `workloads that must be refused`() throws {
        let good = try Istio_Workload_Workload(Sample.workload())
        let cases: [Change<Istio_Workload_Workload>] = [
            ("uid", { $0.uid = "" }),
            ("uid", { $0.uid = "nodemesh/Workload/shop/other" }),
            ("name", { $0.name = "" }),
            ("name", { $0.name = "a/b" }),
            ("namespace", { $0.namespace = ".." }),
            ("addresses[0]", { $0.addresses = [Data()] }),
            ("addresses[1]", { $0.addresses.append(Data([1, 2, 3, 4, 5])) }),
            ("addresses[0]", { $0.addresses = [Data(count: 17)] }),
            ("service_account", { $0.serviceAccount = "a b" }),
            ("trust_domain", { $0.trustDomain = "UPPER" }),
            ("node", { $0.node = "a/b" }),
            ("node", { $0.node = "" }),
            ("tunnel_protocol", { $0.tunnelProtocol = .legacyIstioMtls }),
            ("tunnel_protocol", { $0.tunnelProtocol = .UNRECOGNIZED(9) }),
            ("status", { $0.status = .UNRECOGNIZED(9) }),
            ("network_mode", { $0.networkMode = .UNRECOGNIZED(9) }),
            ("capacity", { $0.capacity = .init(0) }),
            ("waypoint", { $0.waypoint = .init() }),
            ("application_tunnel", { $0.applicationTunnel = .init() }),
            ("native_tunnel", { $0.nativeTunnel = true }),
            ("network", { $0.network = "other" }),
            ("hostname", { ($0.addresses, $0.hostname) = ([], "example.org") }),
            ("authorization_policies[1]", { $0.authorizationPolicies.append("nope") }),
            ("services", { $0.services["shop/other.example.org"] = .init() }),
            ("services", { $0.services[""] = .init() }),
            ("canonical_name", { $0.canonicalName = "a b" }),
            (
                "dry_run_policies[0]",
                { $0.extensions = [try! .init(Nodemesh_V1_DryRunPolicies.with { $0.policies = ["nope"] })] }
            ),
        ]
        for (field, body) in cases {
            var message = good
            body(&message)
            do throws(ResourceError) {
                _ = try Workload(message, trustDomain: "mesh.internal")
                Issue.record("accepted a wrong \(field)")
            } catch {
                #expect(error.field == field, "\(error)")
            }
        }
        for port in [UInt32(0), 65536, .max] {
            var message = good
            let key = "shop/web.shop.mesh.internal"
            message.services[key]?.ports[0].servicePort = port
            #expect(throws: ResourceError.self) { try Workload(message, trustDomain: "mesh.internal") }
        }
    }

    @Test func `services, nodes and settings that must be refused`() throws {
        let services: [Change<Istio_Workload_Service>] = [
            ("name", { $0.name = "" }), ("namespace", { $0.namespace = "" }), ("hostname", { $0.hostname = "x.org" }),
            ("addresses[0].address", { $0.addresses[0].address = Data([1]) }),
            ("addresses[0].network", { $0.addresses[0].network = "x" }),
            ("addresses[0].length", { $0.addresses[0].length = 24 }),
            ("ports[0].service_port", { $0.ports[0].servicePort = 70000 }),
            ("ports[0].target_port", { $0.ports[0].targetPort = 70000 }),
            ("ports", { $0.ports.append($0.ports[0]) }), ("waypoint", { $0.waypoint = .init() }),
            ("waypoint", { $0.weightedWaypoints = [.init()] }),
        ]
        for (field, body) in services {
            var message = try Istio_Workload_Service(Sample.service())
            body(&message)
            #expect(throws: ResourceError.self, "\(field)") { try Service(message) }
        }
        let nodes: [Change<Nodemesh_V1_Node>] = [
            ("name", { $0.name = "" }), ("addresses", { $0.addresses = [Data(count: 3)] }),
            ("tunnel_port", { $0.tunnelPort = 0 }), ("tunnel_port", { $0.tunnelPort = 65536 }),
        ]
        for (field, body) in nodes {
            var message = Nodemesh_V1_Node(Sample.node())
            body(&message)
            #expect(throws: ResourceError.self, "\(field)") { try Node(message) }
        }
        let settings: [Change<Nodemesh_V1_Mesh>] = [
            ("trust_domain", { $0.trustDomain = "" }), ("trust_bundle", { $0.trustBundle = [] }),
            ("trust_bundle", { $0.trustBundle = Array(repeating: "x", count: 65) }),
            ("prefixes", { $0.prefixes[0].length = 33 }), ("prefixes", { $0.prefixes[0].address = Data(count: 2) }),
            ("root_namespace", { $0.rootNamespace = "" }),
        ]
        for (field, body) in settings {
            var message = Nodemesh_V1_Mesh(Sample.settings)
            body(&message)
            #expect(throws: ResourceError.self, "\(field)") { try MeshSettings(message) }
        }
    }

    @Test func `policies that must be refused`() throws {
        let good = Istio_Security_Authorization(Sample.policy())
        let path = "rules[0].clauses[0].matches[0]"
        func match(_ body: @escaping (inout Istio_Security_Match) -> Void) -> (inout Istio_Security_Authorization) ->
            Void
        {
            { body(&$0.rules[0].clauses[0].matches[0]) }
        }
        let unknown = try Istio_Security_Match(serializedBytes: Data([0xf8, 0x01, 0x01]))
        let cases: [Change<Istio_Security_Authorization>] = [
            ("name", { $0.name = "" }), ("namespace", { $0.namespace = "a/b" }),
            ("scope", { $0.scope = .UNRECOGNIZED(7) }), ("action", { $0.action = .UNRECOGNIZED(7) }),
            ("extensions", { $0.extensions = [.init()] }),
            ("\(path).extensions", match { $0.extensions = [.init()] }),
            ("\(path): a field that is unknown here", match { $0 = unknown }),
            ("\(path).principals[0]", match { $0.principals = [.init()] }),
            ("\(path).not_principals[0]", match { $0.notPrincipals = [.init()] }),
            ("\(path).source_ips[0]", match { $0.sourceIps[0].length = 33 }),
            ("\(path).not_source_ips[0]", match { $0.notSourceIps[0].address = Data([1]) }),
            ("\(path).destination_ips[0]", match { $0.destinationIps[0].length = .max }),
            ("\(path).not_destination_ips[0]", match { $0.notDestinationIps[0].address = Data(count: 5) }),
            ("\(path).destination_ports[0]", match { $0.destinationPorts = [65536] }),
            ("\(path).not_destination_ports[0]", match { $0.notDestinationPorts = [0] }),
            ("\(path).service_accounts[0].namespace", match { $0.serviceAccounts[0].namespace = "" }),
            ("\(path).not_service_accounts[0].service_account", match { $0.notServiceAccounts[0].serviceAccount = "" }),
        ]
        for (field, body) in cases {
            var message = good
            body(&message)
            do throws(ResourceError) {
                _ = try AuthorizationPolicy(message)
                Issue.record("accepted a wrong \(field)")
            } catch {
                #expect(error.field == field)
            }
        }
    }

    @Test(arguments: ResourceType.allCases)
    func `bytes that are no message, and content under another name`(type: ResourceType) throws {
        for payload in [Data([0xff]), Data([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]), Data(repeating: 0x0a, count: 99)] {
            #expect(throws: ResourceError.self) {
                try MeshResource.decode(type, name: "x", payload: payload, trustDomain: "mesh.internal")
            }
        }
        #expect(throws: ResourceError.self) {
            try MeshResource.decode(type, name: "", payload: Data(), trustDomain: "mesh.internal")
        }
        for resource in Self.resources where resource.type == type {
            let payload = try resource.encoded().payload
            #expect(throws: ResourceError.self) {
                try MeshResource.decode(type, name: "shop/other", payload: payload, trustDomain: "mesh.internal")
            }
        }
    }

    @Test(arguments: ["", "/", "shop", "shop/web", "shop/web.other.mesh.internal", "shop/.shop.mesh.internal", "a/b/c"])
    func `texts that are no service key`(text: String) {
        #expect(ServiceKey.parse(text) == nil)
    }
}
