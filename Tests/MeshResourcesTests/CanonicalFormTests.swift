// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import MeshModel
import MeshResources
import Testing

@Suite struct CanonicalFormTests {
    private static let all = [
        service, AuthorizationPolicyTests.full, DestinationRuleTests.full,
        document("ConnectionLimits", "nodemesh.io/v1", spec: "workload: {maxConnections: 1, bytesPerSecond: 10M}"),
        document(
            "ConnectionLimits", "nodemesh.io/v1",
            spec: "targetRef: {kind: Service, name: api}\ndestination: {maxPending: 4294967295}"),
        document(
            "Service", "v1",
            spec: "selector: {a: b}\nports: [{port: 1}]\ntrafficDistribution: PreferClose\ninternalTrafficPolicy: Local"
        ),
        document("PeerAuthentication", spec: "selector: {matchLabels: {a: b}}\nportLevelMtls: {80: {mode: STRICT}}"),
        document("PeerAuthentication", spec: "mtls: {}"),
        document("AuthorizationPolicy", annotation: "istio.io/dry-run: \"true\"", spec: "rules: [{}]"),
        document("Workload", "nodemesh.io/v1", spec: "addresses: [10.0.0.1]\nnode: n\nweight: 2\nlocality: eu/a"),
        document("Service", "v1", spec: "selector: {a: b}\nclusterIP: None"),
    ]

    @Test(arguments: all) func roundTrips(_ text: String) throws {
        let resource = try #require(try resources(text).first)
        let json = try resource.canonicalJSON()
        #expect(try Resource(canonicalJSON: json) == resource)
        // It is a document of its own, with the same meaning.
        #expect(try resources(json) == [resource])
        #expect(try resources(json).first?.canonicalJSON() == json)
    }

    @Test func holdsWhatWasWrittenAndNothingElse() throws {
        #expect(
            try resources(service).first?.canonicalJSON()
                == #"{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"shop"},"#
                + #""spec":{"ports":[{"port":80,"targetPort":8080}],"selector":{"app":"web"}}}"#)
    }

    @Test func doesNotDependOnTheOrderOfMaps() throws {
        let one = document("Service", "v1", spec: "selector: {a: b, c: d}\nports: [{port: 1, targetPort: 2}]")
        let two = document("Service", "v1", spec: "ports: [{targetPort: 2, port: 1}]\nselector: {c: d, a: b}")
        #expect(try resources(one).first?.canonicalJSON() == resources(two).first?.canonicalJSON())
    }

    @Test(arguments: ["", "{}", "[]", #"{"kind":"Secret"}"#, #"{"kind":"Service"}"#]) func badStoreText(_ text: String)
    {
        #expect(throws: (any Error).self) { try Resource(canonicalJSON: text) }
    }

    @Test(arguments: [
        ("service", ResourceKind.service), ("Services", .service), ("SVC", .service), ("workload", .workload),
        ("peerauthentications", .peerAuthentication), ("PeerAuthentication", .peerAuthentication),
        ("authorizationpolicies", .authorizationPolicy), ("AuthorizationPolicy", .authorizationPolicy),
        ("dr", .destinationRule), ("destinationrules", .destinationRule), ("ConnectionLimits", .connectionLimits),
        ("cl", .connectionLimits),
    ])
    func kindsAsOperatorsTypeThem(_ text: String, _ kind: ResourceKind) {
        #expect(ResourceKind(argument: text) == kind)
    }

    @Test(arguments: ["", "pod", "servicess", "service "]) func kindsThatAreNone(_ text: String) {
        #expect(ResourceKind(argument: text) == nil)
    }
}
