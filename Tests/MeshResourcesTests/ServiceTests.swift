// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import MeshModel
import MeshResources
import Testing

@Suite struct ServiceTests {
    private func decode(_ spec: String) throws -> ServiceResource? {
        guard case .service(let value) = try resources(document("Service", "v1", spec: spec)).first else { return nil }
        return value
    }

    @Test func everythingThatIsTaken() throws {
        let value = try self.decode(
            """
            selector: {app: web, tier: front}
            clusterIP: 240.240.3.4
            ports:
            - {name: http, port: 80, targetPort: 8080, protocol: TCP, appProtocol: http}
            - {name: raw, port: 90}
            """)
        #expect(value?.id == NamespacedName(namespace: "shop", name: "it"))
        #expect(
            value?.portMappings == [.init(servicePort: 80, targetPort: 8080), .init(servicePort: 90, targetPort: 90)])
        #expect(value?.requestedAddresses.map(\.description) == ["240.240.3.4"])
        #expect(value?.isHeadless == false)
    }

    @Test func aHeadlessServiceNeedsNoPorts() throws {
        let value = try self.decode("selector: {app: web}\nclusterIP: None")
        #expect(value?.isHeadless == true)
        #expect(value?.requestedAddresses.isEmpty == true)
    }

    @Test func theSelectorFindsWorkloadsOfItsNamespace() throws {
        let value = try #require(try self.decode("selector: {app: web}\nports: [{port: 1}]"))
        #expect(value.selects(labels: ["app": "web", "x": "y"], namespace: "shop"))
        #expect(!value.selects(labels: ["app": "web"], namespace: "ops"))
        #expect(!value.selects(labels: ["app": "api"], namespace: "shop"))
        #expect(!value.selects(labels: [:], namespace: "shop"))
        var none = value
        none.spec.selector = [:]
        #expect(!none.selects(labels: ["app": "web"], namespace: "shop"))
    }

    @Test(arguments: [
        ("ports: [{port: 1}]", "spec.selector", "is required"),
        ("selector: {}\nports: [{port: 1}]", "spec.selector", "at least one label"),
        ("selector: {a: b}", "spec.ports", "is required"),
        ("selector: {a: b}\nports: []", "spec.ports", "at least one port"),
        ("selector: {a: b}\nports: {port: 1}", "spec.ports", "has to be a list"),
        ("selector: {a: b}\nports: [1]", "spec.ports[0]", "has to be an object"),
        ("selector: {a: b}\nports: [{}]", "spec.ports[0].port", "is required"),
        ("selector: {a: b}\nports: [{port: 0}]", "spec.ports[0].port", "from 1 to 65535"),
        ("selector: {a: b}\nports: [{port: 65536}]", "spec.ports[0].port", "from 1 to 65535"),
        ("selector: {a: b}\nports: [{port: 99999999999999999999}]", "spec.ports[0].port", "from 1 to 65535"),
        ("selector: {a: b}\nports: [{port: 1.5}]", "spec.ports[0].port", "whole number"),
        ("selector: {a: b}\nports: [{port: 0x50}]", "spec.ports[0].port", "whole number"),
        ("selector: {a: b}\nports: [{port: -1}]", "spec.ports[0].port", "from 1 to 65535"),
        ("selector: {a: b}\nports: [{port: \"80\"}]", "spec.ports[0].port", "not text"),
        ("selector: {a: b}\nports: [{port: 15008}]", "spec.ports[0].port", "belongs to the mesh"),
        ("selector: {a: b}\nports: [{port: 1, targetPort: http}]", "spec.ports[0].targetPort", "names of ports"),
        ("selector: {a: b}\nports: [{port: 1, targetPort: 15006}]", "spec.ports[0].targetPort", "belongs to the mesh"),
        ("selector: {a: b}\nports: [{port: 1, protocol: UDP}]", "spec.ports[0].protocol", "only TCP"),
        ("selector: {a: b}\nports: [{port: 1, nodePort: 30000}]", "spec.ports[0].nodePort", "inside the mesh only"),
        ("selector: {a: b}\nports: [{port: 1, name: A}]", "spec.ports[0].name", "not a valid name"),
        ("selector: {a: b}\nports: [{port: 1}, {port: 2, name: x}]", "spec.ports[0]", "name is required"),
        ("selector: {a: b}\nports: [{port: 1, name: x}, {port: 1, name: y}]", "spec.ports[1]", "listed twice"),
        ("selector: {a: b}\nports: [{port: 1, name: x}, {port: 2, name: x}]", "spec.ports[1]", "used twice"),
        ("selector: {a: b}\nports: [{port: 1}]\nclusterIP: nope", "spec.clusterIP", "not an IP address or None"),
        ("selector: {a: b}\nports: [{port: 1}]\nclusterIP: 127.0.0.1", "spec.clusterIP", "cannot be the address"),
        ("selector: {a: b}\nports: [{port: 1}]\nclusterIP: 224.0.0.1", "spec.clusterIP", "cannot be the address"),
        ("selector: {a: b}\nports: [{port: 1}]\nclusterIP: \"ff02::1\"", "spec.clusterIP", "cannot be the address"),
        (
            "selector: {a: b}\nports: [{port: 1}]\nclusterIP: 10.0.0.1\nclusterIPs: [10.0.0.2]", "spec.clusterIPs",
            "the first one"
        ),
        ("selector: {a: b}\nports: [{port: 1}]\nclusterIPs: [10.0.0.1, 10.0.0.1]", "spec.clusterIPs[1]", "twice"),
        ("selector: {a: b}\nports: [{port: 1}]\nclusterIPs: []", "spec.clusterIPs", "empty list"),
        ("selector: {a: b}\nports: [{port: 1}]\ntype: LoadBalancer", "spec.type", "ClusterIP"),
        ("selector: {a: b}\nports: [{port: 1}]\nexternalName: x", "spec.externalName", "inside the mesh only"),
        ("selector: {a: b}\nports: [{port: 1}]\nexternalIPs: [1.1.1.1]", "spec.externalIPs", "inside the mesh only"),
        ("selector: {a: b}\nports: [{port: 1}]\nsessionAffinity: ClientIP", "spec.sessionAffinity", "only None"),
        ("selector: {a: b}\nports: [{port: 1}]\ninternalTrafficPolicy: Near", "spec.internalTrafficPolicy", "or Local"),
        ("selector: {a: b}\nports: [{port: 1}]\ntrafficDistribution: Near", "spec.trafficDistribution", "SameZone"),
        ("selector: {a: b}\nports: [{port: 1}]\nipFamilies: [IPX]", "spec.ipFamilies[0]", "IPv4 or IPv6"),
        ("selector: {a: b}\nports: [{port: 1}]\nipFamilies: [IPv6, IPv6]", "spec.ipFamilies[1]", "twice"),
        ("selector: {a: b}\nports: [{port: 1}]\nipFamilyPolicy: Both", "spec.ipFamilyPolicy", "PreferDualStack"),
        (
            "selector: {a: b}\nports: [{port: 1}]\nipFamilyPolicy: SingleStack\nipFamilies: [IPv4, IPv6]",
            "spec.ipFamilies", "takes one family"
        ),
        (
            "selector: {a: b}\nports: [{port: 1}]\nipFamilyPolicy: SingleStack\nclusterIPs: [10.0.0.1, \"fd00::1\"]",
            "spec.clusterIPs", "one family"
        ),
        (
            "selector: {a: b}\nports: [{port: 1}]\nclusterIP: \"fd00::1\"\nipFamilies: [IPv4, IPv6]", "spec.ipFamilies",
            "that of the first address"
        ),
        (
            "selector: {a: b}\nports: [{port: 1}]\npublishNotReadyAddresses: true", "spec.publishNotReadyAddresses",
            "healthy"
        ),
    ])
    func isRefused(_ spec: String, _ path: String, _ reason: String) {
        let found = problems(document("Service", "v1", spec: spec))
        #expect(found.contains { $0.path == path && $0.reason.contains(reason) && $0.line != nil }, "\(found)")
    }

    @Test(arguments: [
        ("", ["IPv4", "IPv6"]),
        ("ipFamilyPolicy: SingleStack", ["IPv4"]),
        ("ipFamilies: [IPv6]", ["IPv6"]),
        ("ipFamilies: [IPv6, IPv4]", ["IPv6", "IPv4"]),
        ("ipFamilyPolicy: SingleStack\nipFamilies: [IPv6]", ["IPv6"]),
        ("ipFamilyPolicy: RequireDualStack", ["IPv4", "IPv6"]),
        ("clusterIP: 10.0.0.1", []),
        ("clusterIP: 10.0.0.1\nipFamilyPolicy: PreferDualStack", ["IPv6"]),
        ("clusterIP: \"fd00::1\"\nipFamilies: [IPv6, IPv4]", ["IPv4"]),
        ("clusterIPs: [10.0.0.1, \"fd00::1\"]\nipFamilyPolicy: RequireDualStack", []),
        ("clusterIP: None\nipFamilyPolicy: RequireDualStack", []),
    ])
    func addressesAreAssignedInTheFamiliesItAsksFor(_ fields: String, _ families: [String]) throws {
        let text = document("Service", "v1", spec: "selector: {a: b}\nports: [{port: 1}]\n" + fields)
        guard case .service(let value) = try resources(text).first else {
            Issue.record("no service")
            return
        }
        #expect(value.assignedFamilies.map(\.rawValue) == families)
        #expect(try Resource(canonicalJSON: Resource.service(value).canonicalJSON()) == .service(value))
    }
}
