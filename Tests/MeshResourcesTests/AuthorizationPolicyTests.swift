// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import MeshModel
import MeshResources
import Testing

@Suite struct AuthorizationPolicyTests {
    static let full = """
        apiVersion: security.istio.io/v1
        kind: AuthorizationPolicy
        metadata:
          name: backend
          namespace: shop
        spec:
          selector:
            matchLabels: {app: backend}
          action: DENY
          rules:
          - from:
            - source:
                principals: ["mesh.internal/ns/shop/sa/web", "mesh.internal/ns/ops/*", "*/sa/admin", "*"]
                notPrincipals: ["x"]
                namespaces: [shop]
                notNamespaces: ["o*"]
                serviceAccounts: [web, ops/admin]
                notServiceAccounts: [ops/bad]
                ipBlocks: [10.0.0.0/8, 192.168.1.1]
                notIpBlocks: ["fd00::/8"]
            - source: {namespaces: [ops]}
            to:
            - operation: {ports: ["80", 8080], notPorts: ["22"]}
            when:
            - {key: source.ip, values: [10.0.0.0/8], notValues: [10.1.0.0/16]}
            - {key: source.namespace, values: ["*"]}
            - {key: source.principal, notValues: [x]}
            - {key: destination.ip, values: [10.0.0.1]}
            - {key: destination.port, values: ["80"], notValues: ["81"]}
        """

    private func name(_ text: String) -> NamespacedName? { NamespacedName(text) }

    @Test func everyFieldIsConverted() throws {
        let policy = try authorizationPolicy(Self.full).policy(rootNamespace: "nodemesh-system")
        #expect(policy.id.description == "shop/backend")
        #expect(policy.scope == .workloadSelector)
        #expect(policy.action == .deny)
        #expect(policy.rules.count == 1)
        let clauses = try #require(policy.rules.first?.clauses)
        #expect(clauses.count == 7)
        #expect(clauses.map(\.matches.count) == [2, 1, 1, 1, 1, 1, 1])
        let source = clauses[0].matches[0]
        #expect(
            source.principals == [
                .exact("mesh.internal/ns/shop/sa/web"), .prefix("mesh.internal/ns/ops/"), .suffix("/sa/admin"),
                .presence,
            ])
        #expect(source.notPrincipals == [.exact("x")])
        #expect(source.namespaces == [.exact("shop")])
        #expect(source.notNamespaces == [.prefix("o")])
        #expect(source.serviceAccounts == [self.name("shop/web"), self.name("ops/admin")])
        #expect(source.notServiceAccounts == [self.name("ops/bad")])
        #expect(source.sourceIPs == [IPPrefix("10.0.0.0/8"), IPPrefix("192.168.1.1/32")])
        #expect(source.notSourceIPs == [IPPrefix("fd00::/8")])
        #expect(clauses[1].matches[0].destinationPorts == [80, 8080])
        #expect(clauses[1].matches[0].notDestinationPorts == [22])
        #expect(clauses[2].matches[0].notSourceIPs == [IPPrefix("10.1.0.0/16")])
        #expect(clauses[3].matches[0].namespaces == [.presence])
        #expect(clauses[4].matches[0].notPrincipals == [.exact("x")])
        #expect(clauses[5].matches[0].destinationIPs == [IPPrefix("10.0.0.1/32")])
        #expect(clauses[6].matches[0].destinationPorts == [80])
        #expect(clauses[6].matches[0].notDestinationPorts == [81])
    }

    @Test(arguments: [
        ("shop", "", AuthorizationPolicy.Scope.namespace), ("nodemesh-system", "", .global),
        ("shop", "selector: {matchLabels: {a: b}}", .workloadSelector),
        ("nodemesh-system", "selector: {matchLabels: {a: b}}", .workloadSelector),
        ("shop", "selector: {matchLabels: {}}", .namespace), ("shop", "selector: {}", .namespace),
    ])
    func scopes(_ namespace: String, _ selector: String, _ scope: AuthorizationPolicy.Scope) throws {
        let text = document("AuthorizationPolicy", namespace: namespace, spec: "action: ALLOW\n\(selector)")
        #expect(try authorizationPolicy(text).policy(rootNamespace: "nodemesh-system").scope == scope)
    }

    @Test func theActionIsAllowUnlessSaid() throws {
        let policy = try authorizationPolicy(document("AuthorizationPolicy", spec: "rules: [{}]")).policy(
            rootNamespace: "r")
        #expect(policy.action == .allow)
        #expect(policy.rules == [.init(clauses: [])])
    }

    @Test func aPolicyWithoutSpecAllowsNothing() throws {
        let text = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}"
        for spec in ["", "\nspec:", "\nspec: {}", "\nspec: {rules: []}"] {
            let policy = try authorizationPolicy(text + spec).policy(rootNamespace: "r")
            #expect(policy.rules.isEmpty && policy.action == .allow)
        }
    }

    @Test func theSelectorFindsWorkloads() throws {
        let own = try authorizationPolicy(Self.full)
        #expect(own.selects(labels: ["app": "backend"], namespace: "shop", rootNamespace: "root"))
        #expect(!own.selects(labels: ["app": "backend"], namespace: "ops", rootNamespace: "root"))
        #expect(!own.selects(labels: [:], namespace: "shop", rootNamespace: "root"))
        #expect(own.selects(labels: ["app": "backend"], namespace: "ops", rootNamespace: "shop"))
        let wide = try authorizationPolicy(document("AuthorizationPolicy", spec: "action: DENY"))
        #expect(!wide.selects(labels: ["app": "backend"], namespace: "shop", rootNamespace: "root"))
    }

    @Test(arguments: [("true", true), ("false", false)]) func dryRun(_ value: String, _ expected: Bool) throws {
        let text = document(
            "AuthorizationPolicy", annotation: "istio.io/dry-run: \"\(value)\"", spec: "rules: [{}]")
        #expect(try authorizationPolicy(text).policy(rootNamespace: "r").isDryRun == expected)
    }

    @Test func theOldVersionMeansTheSame() throws {
        let old = try resources(Self.full.replacing("istio.io/v1", with: "istio.io/v1beta1"))
        #expect(try old == resources(Self.full))
    }

    @Test func aChangedStoreIsNoticed() throws {
        var resource = try authorizationPolicy(Self.full)
        resource.spec.rules[0].to[0].operation.ports = ["0"]
        #expect(throws: UnreadablePolicy.self) { try resource.policy(rootNamespace: "r") }
        resource.spec.rules[0].to = []
        resource.spec.rules[0].from[0].source.ipBlocks = ["x"]
        #expect(throws: UnreadablePolicy.self) { try resource.policy(rootNamespace: "r") }
    }

    @Test(arguments: [
        ("action: AUDIT", "spec.action", "dry-run"),
        ("action: CUSTOM", "spec.action", "HTTP-aware proxy, not available yet"),
        ("action: allow", "spec.action", "ALLOW or DENY"),
        ("provider: {name: x}", "spec.provider", "HTTP-aware"),
        ("targetRefs: [{kind: Gateway}]", "spec.targetRefs", "HTTP-aware"),
        ("selector: {matchExpressions: []}", "spec.selector.matchExpressions", "use matchLabels"),
        ("selector: {app: x}", "spec.selector.app", "unknown field"),
        ("rules: {}", "spec.rules", "has to be a list"),
        ("rules: [1]", "spec.rules[0]", "has to be an object"),
        ("rules: [{from: []}]", "spec.rules[0].from", "empty list"),
        ("rules: [{to: []}]", "spec.rules[0].to", "empty list"),
        ("rules: [{when: []}]", "spec.rules[0].when", "empty list"),
        ("rules: [{from: [{}]}]", "spec.rules[0].from[0].source", "is required"),
        ("rules: [{from: [{source: {}}]}]", "spec.rules[0].from[0].source", "at least one"),
        ("rules: [{from: [{source: {principals: []}}]}]", "spec.rules[0].from[0].source.principals", "empty list"),
        ("rules: [{from: [{source: {principals: x}}]}]", "spec.rules[0].from[0].source.principals", "has to be a list"),
        ("rules: [{from: [{source: {principals: [\"\"]}}]}]", "spec.rules[0].from[0].source.principals[0]", "empty"),
        ("rules: [{from: [{source: {principals: [a*b]}}]}]", "spec.rules[0].from[0].source.principals[0]", "one end"),
        ("rules: [{from: [{source: {principals: ['*a*']}}]}]", "spec.rules[0].from[0].source.principals[0]", "one end"),
        (
            "rules: [{from: [{source: {principals: ['spiffe://td/ns/a/sa/b']}}]}]",
            "spec.rules[0].from[0].source.principals[0]", "without 'spiffe://'"
        ),
        (
            "rules: [{from: [{source: {requestPrincipals: [a]}}]}]", "spec.rules[0].from[0].source.requestPrincipals",
            "HTTP-aware proxy, not available yet"
        ),
        (
            "rules: [{from: [{source: {remoteIpBlocks: [a]}}]}]", "spec.rules[0].from[0].source.remoteIpBlocks",
            "HTTP-aware"
        ),
        ("rules: [{from: [{source: {namespaces: [1]}}]}]", "spec.rules[0].from[0].source.namespaces[0]", "quotes"),
        (
            "rules: [{from: [{source: {serviceAccounts: [a/b/c]}}]}]",
            "spec.rules[0].from[0].source.serviceAccounts[0]", "NAMESPACE/SERVICE-ACCOUNT"
        ),
        (
            "rules: [{from: [{source: {serviceAccounts: ['a*']}}]}]", "spec.rules[0].from[0].source.serviceAccounts[0]",
            "use principals"
        ),
        ("rules: [{from: [{source: {ipBlocks: [10.0.0.0/33]}}]}]", "spec.rules[0].from[0].source.ipBlocks[0]", "CIDR"),
        ("rules: [{from: [{source: {notIpBlocks: [host]}}]}]", "spec.rules[0].from[0].source.notIpBlocks[0]", "CIDR"),
        ("rules: [{to: [{operation: {}}]}]", "spec.rules[0].to[0].operation", "at least one"),
        ("rules: [{to: [{operation: {ports: ['0']}}]}]", "spec.rules[0].to[0].operation.ports[0]", "from 1 to 65535"),
        (
            "rules: [{to: [{operation: {ports: ['80-90']}}]}]", "spec.rules[0].to[0].operation.ports[0]",
            "from 1 to 65535"
        ),
        ("rules: [{to: [{operation: {notPorts: [[80]]}}]}]", "spec.rules[0].to[0].operation.notPorts[0]", "from 1"),
        ("rules: [{to: [{operation: {methods: [GET]}}]}]", "spec.rules[0].to[0].operation.methods", "HTTP-aware"),
        ("rules: [{to: [{operation: {paths: [/]}}]}]", "spec.rules[0].to[0].operation.paths", "HTTP-aware"),
        ("rules: [{to: [{operation: {hosts: [a]}}]}]", "spec.rules[0].to[0].operation.hosts", "HTTP-aware"),
        ("rules: [{when: [{}]}]", "spec.rules[0].when[0].key", "is required"),
        ("rules: [{when: [{key: source.ip}]}]", "spec.rules[0].when[0]", "at least one"),
        ("rules: [{when: [{key: source.ip, values: [x]}]}]", "spec.rules[0].when[0].values[0]", "CIDR"),
        ("rules: [{when: [{key: 'request.headers[x]', values: [a]}]}]", "spec.rules[0].when[0].key", "HTTP-aware"),
        ("rules: [{when: [{key: connection.sni, values: [a]}]}]", "spec.rules[0].when[0].key", "HTTP-aware"),
        ("rules: [{when: [{key: source.port, values: [a]}]}]", "spec.rules[0].when[0].key", "has to be one of"),
        ("rules: [{too: []}]", "spec.rules[0].too", "unknown field"),
    ])
    func isRefused(_ spec: String, _ path: String, _ reason: String) {
        let found = problems(document("AuthorizationPolicy", spec: spec))
        #expect(found.contains { $0.path == path && $0.reason.contains(reason) && $0.line != nil }, "\(found)")
    }

    @Test func aBadDryRunAnnotation() {
        let text = document("AuthorizationPolicy", annotation: "istio.io/dry-run: \"yes\"", spec: "rules: [{}]")
        #expect(problems(text).map(\.path) == ["metadata.annotations[istio.io/dry-run]"])
    }
}
