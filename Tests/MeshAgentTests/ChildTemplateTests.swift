// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import Testing

@testable import MeshAgent

@Suite struct ChildTemplateTests {
    private static func template(
        _ pattern: String, name: String = "$name", namespace: String = "default", account: String = "default",
        labels: [String: String] = [:]
    ) -> EnrolTemplate {
        EnrolTemplate(
            name: "apps",
            workload: EnrolRequest(
                namespace: namespace, name: name, serviceAccount: account, labels: labels, cgroup: "/cg/apps.slice"),
            namePattern: pattern, isGuarded: true)
    }

    @Test func capturesBecomeNames() throws {
        let child = try ChildTemplate(
            Self.template(
                #"app-(?<namespace>[a-z]+)-(?<name>.+)\.service"#, namespace: "$namespace", account: "sa-${name}",
                labels: ["app": "$name", "price": "$$5"]))
        let request = try #require(try child.request(child: "app-shop-cart.service"))
        #expect(request.name == "cart")
        #expect(request.namespace == "shop")
        #expect(request.serviceAccount == "sa-cart")
        #expect(request.labels == ["app": "cart", "price": "$5"])
        #expect(request.cgroup == "/cg/apps.slice/app-shop-cart.service")
    }

    @Test func onlyWholeNamesMatch() throws {
        let child = try ChildTemplate(Self.template("app-(?<name>[a-z]+)"))
        #expect(try child.request(child: "app-web.service") == nil)
        #expect(try child.request(child: "my-app-web") == nil)
        #expect(try child.request(child: "app-web")?.name == "web")
    }

    @Test func namesAreMadeFit() throws {
        let child = try ChildTemplate(Self.template("(?<name>.+)"))
        #expect(try child.request(child: "Pod1234_ab.Slice")?.name == "pod1234-ab-slice")
        #expect(try child.request(child: "-a-")?.name == "a")
        #expect(try child.request(child: String(repeating: "x", count: 200))?.name.utf8.count == 63)
        #expect(throws: EnrolmentError.self) { try child.request(child: "...") }
    }

    @Test(arguments: [
        ("(?<name>", "$name", "regular expression"), ("(?<name>.+)", "$other", "namePattern has no (?<other>"),
        (".+", "$name", "it has none"), ("(?<name>.+)", "web", "same for every child"),
    ])
    func wrongTemplatesAreRefused(_ pattern: String, _ name: String, _ reason: String) {
        let error = #expect(throws: EnrolmentError.self) { try ChildTemplate(Self.template(pattern, name: name)) }
        #expect(error?.description.contains(reason) == true, "\(error?.description ?? "-")")
    }

    @Test func captureNamesAreFound() {
        #expect(ChildTemplate.captures(of: "(?<a>x)(?<=b)(?<!c)(?:d)(?<e1>.)") == ["a", "e1"])
    }
}
