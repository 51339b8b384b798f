// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import MeshModel
import MeshResources
import Testing

@Suite struct WorkloadTests {
    private func decode(_ spec: String, usage: ResourceDecoder.Usage = .apply) throws -> WorkloadResource {
        let text = document("Workload", "nodemesh.io/v1", spec: spec).replacing(
            "  name: it", with: "  name: it\n  labels: {app: db}")
        guard case .workload(let value) = try resources(text, usage: usage).first else {
            throw InvalidResources(problems: [])
        }
        return value
    }

    @Test func aStaticEndpointIsOutsideTheMesh() throws {
        let workload = try self.decode("addresses: [10.1.1.1, \"fd00::1\"]\nweight: 3").workload(
            trustDomain: "mesh.internal")
        #expect(workload.tunnel == .none)
        #expect(workload.node.isEmpty)
        #expect(workload.capacity == 3)
        #expect(workload.canonicalName == "db")
        #expect(workload.serviceAccount == "default")
        #expect(workload.addresses.map(\.description) == ["10.1.1.1", "fd00::1"])
    }

    @Test func aStaticEndpointOnANodeIsReachedThroughItsTunnel() throws {
        let workload = try self.decode("addresses: [10.1.1.1]\nnode: n1\nserviceAccount: pg").workload(
            trustDomain: "mesh.internal")
        #expect(workload.tunnel == .tunnel)
        #expect(workload.node == "n1")
        #expect(workload.identity?.description == "spiffe://mesh.internal/ns/shop/sa/pg")
        #expect(try self.decode("addresses: [10.1.1.1]\nnode: n1\ntunnel: none").tunnel == .none)
    }

    @Test func anEnrolmentFile() throws {
        let value = try self.decode(
            """
            cgroup: /system.slice/db.service
            networkNamespace: /run/netns/db
            serviceAccount: pg
            weight: 2
            whenGone: forget
            failMode: open
            originalDestination: true
            exclude: {ports: [53], inboundPorts: [9100, 22], prefixes: [10.9.0.0/16, "fd00::/8"]}
            """,
            usage: .enrolment)
        let enrolment = try #require(value.spec.enrolment)
        #expect(enrolment.cgroup == "/system.slice/db.service")
        #expect(enrolment.networkNamespace == "/run/netns/db")
        #expect(value.spec.weight == 2)
        #expect(enrolment.whenGone == "forget")
        #expect(enrolment.failMode == "open")
        #expect(enrolment.originalDestination == true)
        #expect(enrolment.excludePorts == [53])
        #expect(enrolment.excludeInboundPorts == [9100, 22])
        #expect(enrolment.excludePrefixes == ["10.9.0.0/16", "fd00::/8"])
    }

    @Test func aTemplateInAnEnrolmentFile() throws {
        let value = try self.decode(
            "unit: apps.slice\ntemplate: {pattern: 'app-(?<name>.+)', labels: {app: $name}, guard: false}",
            usage: .enrolment)
        let template = try #require(value.spec.enrolment?.template)
        #expect(value.spec.enrolment?.unit == "apps.slice")
        #expect(template.pattern == "app-(?<name>.+)")
        #expect(template.labels == ["app": "$name"])
        #expect(template.isGuarded == false)
    }

    @Test(arguments: [
        ("{}", "spec.addresses", "is required"),
        ("addresses: []", "spec.addresses", "empty list"),
        ("addresses: [x]", "spec.addresses[0]", "not an IP address"),
        ("addresses: [10.0.0.1, 10.0.0.1]", "spec.addresses[1]", "twice"),
        ("addresses: [0.0.0.0]", "spec.addresses[0]", "cannot be the address"),
        ("addresses: [\"::1\"]", "spec.addresses[0]", "cannot be the address"),
        ("addresses: [\"ff02::1\"]", "spec.addresses[0]", "cannot be the address"),
        ("addresses: [10.0.0.1]\ntunnel: hbone", "spec.tunnel", "none or tunnel"),
        ("addresses: [10.0.0.1]\ntunnel: tunnel", "spec.node", "is required when"),
        ("addresses: [10.0.0.1]\nweight: 0", "spec.weight", "from 1"),
        ("addresses: [10.0.0.1]\nlocality: eu//r1", "spec.locality", "REGION/ZONE/SUBZONE"),
        ("addresses: [10.0.0.1]\nlocality: \"\"", "spec.locality", "REGION/ZONE/SUBZONE"),
        ("addresses: [10.0.0.1]\nserviceAccount: A", "spec.serviceAccount", "not a valid name"),
        ("addresses: [10.0.0.1]\ncgroup: /a", "spec.cgroup", "enrolment file"),
        ("addresses: [10.0.0.1]\nnetworkNamespace: /a", "spec.networkNamespace", "enrolment file"),
        ("addresses: [10.0.0.1]\nports: [1]", "spec.ports", "enrolment file"),
        ("addresses: [10.0.0.1]\nlabels: {}", "spec.labels", "unknown field"),
    ])
    func isRefusedByTheControlPlane(_ spec: String, _ path: String, _ reason: String) {
        let found = problems(document("Workload", "nodemesh.io/v1", spec: spec))
        #expect(found.contains { $0.path == path && $0.reason.contains(reason) }, "\(found)")
    }

    @Test(arguments: [
        ("{}", "spec.cgroup", "is required"),
        ("cgroup: a/b", "spec.cgroup", "absolute path"),
        ("cgroup: /a/../b", "spec.cgroup", "absolute path"),
        ("cgroup: /", "spec.cgroup", "absolute path"),
        ("cgroup: /a\nnode: n1", "spec.node", "static endpoint"),
        ("cgroup: /a\nunit: a.service", "spec.cgroup", "one of them"),
        ("cgroup: /a\nweight: 0", "spec.weight", "from 1"),
        ("cgroup: /a\nwhenGone: never", "spec.whenGone", "wait or forget"),
        ("cgroup: /a\nfailMode: maybe", "spec.failMode", "closed or open"),
        ("cgroup: /a\nexclude: {port: [1]}", "spec.exclude.port", "unknown field"),
        ("cgroup: /a\nexclude: {prefixes: [10.0.0.0/33]}", "spec.exclude.prefixes[0]", "CIDR"),
        ("cgroup: /a\ntemplate: {name: a}", "spec.template.pattern", "is required"),
        ("cgroup: /a\nserviceAccount: b\ntemplate: {pattern: a}", "spec.serviceAccount", "of one workload"),
        ("cgroup: /a\nlocality: eu", "spec.locality", "static endpoint"),
        ("cgroup: /a\nports: [80]", "spec.ports", "finds the ports"),
        ("cgroup: /a\nexclude: {ports: [0]}", "spec.exclude.ports[0]", "from 1"),
        ("cgroup: /a\nexclude: {ports: [1, 1]}", "spec.exclude.ports[1]", "twice"),
    ])
    func isRefusedInAnEnrolmentFile(_ spec: String, _ path: String, _ reason: String) {
        let found = problems(document("Workload", "nodemesh.io/v1", spec: spec), usage: .enrolment)
        #expect(found.contains { $0.path == path && $0.reason.contains(reason) }, "\(found)")
    }

    @Test func anEnrolmentFileHoldsWorkloadsOnly() {
        #expect(problems(service, usage: .enrolment).map(\.path) == ["kind"])
    }
}
