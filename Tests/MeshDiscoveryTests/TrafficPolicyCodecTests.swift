// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAPI
import MeshModel
import SwiftProtobuf
import Testing

@testable import MeshDiscovery

struct TrafficPolicyCodecTests {
    private static let outliers = OutlierDetection(
        consecutiveFailures: 3, baseEjectionTime: .milliseconds(1500), maxEjectionTime: .seconds(600),
        maxEjectionPercent: 50)
    private static let policy = DestinationPolicy(
        maxConnections: 10, maxPending: 5, connectsPerSecond: 100, connectTimeout: .milliseconds(250),
        outlierDetection: Self.outliers)
    private static let limits = WorkloadLimits(
        connectionsPerSecond: 1, handshakesPerSecond: 2, maxConnections: 3, bytesPerSecond: 1 << 40)

    private func survives(_ resource: MeshResource) throws {
        let encoded = try resource.encoded(trustDomain: "mesh.internal")
        let decoded = try MeshResource.decode(
            resource.type, name: encoded.name, payload: encoded.payload, trustDomain: "mesh.internal")
        #expect(decoded == resource)
        #expect(try resource.encoded(trustDomain: "mesh.internal") == encoded)
    }

    @Test(arguments: [
        nil, DestinationPolicy(), Self.policy, DestinationPolicy(maxPending: 7),
        DestinationPolicy(outlierDetection: OutlierDetection()),
        DestinationPolicy(outlierDetection: OutlierDetection(consecutiveFailures: 0)),
    ])
    func `a service's policy survives the wire`(policy: DestinationPolicy?) throws {
        var service = Sample.service()
        service.policy = policy
        try self.survives(.service(service))
    }

    @Test(arguments: LoadBalancing.Mode.allCases)
    func `a preference survives the wire`(mode: LoadBalancing.Mode) throws {
        var service = Sample.service()
        service.loadBalancing = LoadBalancing(preference: LoadBalancing.Scope.allCases.reversed(), mode: mode)
        try self.survives(.service(service))
    }

    @Test(arguments: [nil, WorkloadLimits(), Self.limits, WorkloadLimits(bytesPerSecond: 1)])
    func `a workload's limits survive the wire`(limits: WorkloadLimits?) throws {
        var workload = Sample.workload()
        workload.limits = limits
        try self.survives(.workload(workload))
    }

    @Test(arguments: ["", "eu", "eu/eu-1a", "eu/eu-1a/rack_3.x"])
    func `a locality survives the wire`(text: String) throws {
        var workload = Sample.workload()
        workload.locality = try #require(Locality(text))
        try self.survives(.workload(workload))
    }

    @Test func `what is not declared takes no bytes`() throws {
        let service = try Istio_Workload_Service(Sample.service())
        #expect(!service.hasLoadBalancing)
        #expect(service.extensions.isEmpty)
        var workload = Sample.workload()
        workload.capacity = 1
        workload.ports = []
        workload.dryRunPolicies = []
        workload.peerAuthentication = nil
        let message = try Istio_Workload_Workload(workload, meshTrustDomain: workload.trustDomain)
        #expect(!message.hasLocality && !message.hasCapacity && message.extensions.isEmpty && message.trustDomain == "")
    }

    @Test func `extensions of others are left alone`() throws {
        var message = try Istio_Workload_Service(Sample.service())
        message.extensions = [
            .with {
                $0.name = "other"
                $0.config.typeURL = "type.googleapis.com/example.Other"
                $0.config.value = Data([0xff])
            }, try .init(Nodemesh_V1_DestinationPolicy(Self.policy)),
        ]
        #expect(try Service(message).policy == Self.policy)
        message.extensions.removeLast()
        #expect(try Service(message).policy == nil)
    }

    @Test func `services that must be refused`() throws {
        typealias Change = (field: String, body: (inout Istio_Workload_Service) throws -> Void)
        func policy(_ body: @escaping (inout Nodemesh_V1_DestinationPolicy) -> Void) -> (
            inout Istio_Workload_Service
        ) throws -> Void {
            { message in
                var policy = Nodemesh_V1_DestinationPolicy(Self.policy)
                body(&policy)
                message.extensions = [try .init(policy)]
            }
        }
        let outliers = "destination_policy.outlier_detection"
        let cases: [Change] = [
            ("load_balancing.mode", { $0.loadBalancing.mode = .passthrough }),
            ("load_balancing.mode", { $0.loadBalancing.mode = .UNRECOGNIZED(9) }),
            ("load_balancing.health_policy", { $0.loadBalancing.healthPolicy = .allowAll }),
            ("load_balancing.routing_preference[0]", { $0.loadBalancing.routingPreference = [.unspecifiedScope] }),
            (
                "load_balancing.routing_preference[1]",
                { $0.loadBalancing.routingPreference = [.zone, .UNRECOGNIZED(9)] }
            ),
            ("load_balancing.routing_preference", { $0.loadBalancing.routingPreference = [.zone, .zone] }),
            ("extensions", { $0.extensions.append($0.extensions[0]) }),
            ("extensions", { $0.extensions[0].config.value = Data([0xff]) }),
            ("destination_policy.max_connections", policy { $0.maxConnections = 0 }),
            ("destination_policy.max_pending", policy { $0.maxPending = 0 }),
            ("destination_policy.connects_per_second", policy { $0.connectsPerSecond = 0 }),
            ("destination_policy.connect_timeout_ms", policy { $0.connectTimeoutMs = 0 }),
            ("destination_policy.connect_timeout_ms", policy { $0.connectTimeoutMs = .max }),
            ("\(outliers).base_ejection_time_ms", policy { $0.outlierDetection.baseEjectionTimeMs = 0 }),
            ("\(outliers).max_ejection_time_ms", policy { $0.outlierDetection.maxEjectionTimeMs = 86_400_001 }),
            ("\(outliers).max_ejection_time_ms", policy { $0.outlierDetection.maxEjectionTimeMs = 1 }),
            ("\(outliers).max_ejection_percent", policy { $0.outlierDetection.maxEjectionPercent = 101 }),
            ("\(outliers).max_ejection_percent", policy { $0.outlierDetection.maxEjectionPercent = 0 }),
        ]
        for (field, body) in cases {
            var message = try Istio_Workload_Service(Sample.service())
            message.extensions = [try .init(Nodemesh_V1_DestinationPolicy(Self.policy))]
            #expect(throws: Never.self) { try Service(message) }
            try body(&message)
            let error = #expect(throws: ResourceError.self, "\(field)") { try Service(message) }
            #expect(error?.field == field)
        }
    }

    @Test func `workloads that must be refused`() throws {
        typealias Change = (field: String, body: (inout Istio_Workload_Workload) throws -> Void)
        func limits(_ body: @escaping (inout Nodemesh_V1_WorkloadLimits) -> Void) -> (
            inout Istio_Workload_Workload
        ) throws -> Void {
            { message in
                var limits = Nodemesh_V1_WorkloadLimits(Self.limits)
                body(&limits)
                message.extensions = [try .init(limits)]
            }
        }
        let cases: [Change] = [
            ("locality.region", { $0.locality.region = "a/b" }), ("locality.zone", { $0.locality.zone = "a b" }),
            ("locality.subzone", { $0.locality.subzone = String(repeating: "x", count: 64) }),
            ("extensions", { $0.extensions.append($0.extensions[0]) }),
            ("workload_limits.connections_per_second", limits { $0.connectionsPerSecond = 0 }),
            ("workload_limits.handshakes_per_second", limits { $0.handshakesPerSecond = 0 }),
            ("workload_limits.max_connections", limits { $0.maxConnections = 0 }),
            ("workload_limits.bytes_per_second", limits { $0.bytesPerSecond = 0 }),
        ]
        for (field, body) in cases {
            var message = try Istio_Workload_Workload(Sample.workload())
            message.extensions = [try .init(Nodemesh_V1_WorkloadLimits(Self.limits))]
            #expect(throws: Never.self) { try Workload(message, trustDomain: "mesh.internal") }
            try body(&message)
            let error = #expect(throws: ResourceError.self, "\(field)") {
                try Workload(message, trustDomain: "mesh.internal")
            }
            #expect(error?.field == field)
        }
    }
}
