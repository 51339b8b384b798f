// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import MeshModel
import MeshResources
import Testing

@Suite struct DocumentTests {
    @Test func yamlAndJSONMeanTheSame() throws {
        let json = """
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
             "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}}
            """
        #expect(try resources(service) == resources(json))
    }

    @Test func severalDocumentsAndLists() throws {
        let list = """
            # a comment first
            ---
            apiVersion: v1
            kind: List
            metadata: {}
            items:
            - {apiVersion: v1, kind: Service, metadata: {name: a}, spec: {selector: {app: a}, ports: [{port: 1}]}}
            - {apiVersion: v1, kind: Service, metadata: {name: b}, spec: {selector: {app: b}, ports: [{port: 1}]}}
            ---
            ---
            """
        let all = try resources(list + "\n" + service)
        #expect(all.map(\.key.description) == ["Service default/a", "Service default/b", "Service shop/web"])
    }

    @Test func placesAreTold() throws {
        let located = try ResourceDecoder.decodeLocated(
            text: "---\n\(service)\n---\n\(service.replacing("web", with: "api"))"
        )
        .get()
        #expect(located.map(\.document) == [1, 2])
        #expect(located.map(\.line) == [2, 14])
        let problem = located[1].problem(path: "spec.clusterIP", reason: "taken")
        #expect(problem.kind == "Service" && problem.name == "api" && problem.line == 14 && problem.document == 2)
    }

    @Test func aProblemNamesEverything() throws {
        let found = problems(service + "\n---\n" + service.replacing("port: 80\n", with: "port: many\n"))
        let problem = try #require(found.first)
        #expect(found.count == 1)
        #expect(problem.document == 2)
        #expect(problem.line == 22)
        #expect(problem.kind == "Service" && problem.namespace == "shop" && problem.name == "web")
        #expect(problem.path == "spec.ports[0].port")
        #expect(problem.reason == "has to be a whole number from 1 to 65535, not text")
    }

    @Test func allProblemsAreToldAtOnce() {
        let found = problems(
            """
            apiVersion: v1
            kind: Service
            metadata: {name: Web, extra: 1}
            spec:
              selector: {app: [1]}
              ports: [{port: 0}, {port: 80, protocol: UDP, name: x}]
              type: NodePort
            ---
            apiVersion: v1
            kind: ConfigMap
            metadata: {name: a}
            """)
        // A name that cannot be used ends the reading of that document.
        #expect(found.map(\.path) == ["metadata.name", "metadata.extra", "kind"])
        let spec = problems(
            """
            apiVersion: v1
            kind: Service
            metadata: {name: web}
            spec:
              selector: {app: [1]}
              ports: [{port: 0}, {port: 80, protocol: UDP, name: x}]
              type: NodePort
            """)
        #expect(
            Set(spec.map(\.path)) == [
                "spec.type", "spec.selector[app]", "spec.selector", "spec.ports[0].port", "spec.ports[1].protocol",
            ])
    }

    @Test func theNumberOfProblemsIsBounded() {
        var limits = ResourceLimits()
        limits.problems = 3
        let text = (0..<10).map { "x\($0): 1" }.joined(separator: "\n")
        let found = problems(service + "\n" + text, limits: limits)
        #expect(found.count == 4)
        #expect(found.last?.reason == "7 more problems are not shown")
    }

    @Test func theSameResourceTwice() {
        let found = problems(service + "\n---\n" + service)
        #expect(found.count == 1)
        #expect(found.first?.reason.contains("stands twice") == true)
        #expect(found.first?.document == 2)
    }

    @Test func whatKubernetesAddsIsLeftOut() throws {
        let exported = """
            apiVersion: v1
            kind: Service
            metadata:
              creationTimestamp: "2024-01-01T00:00:00Z"
              name: web
              namespace: shop
              resourceVersion: "12"
              uid: 0d7e
              generation: 3
            spec:
              clusterIP: 240.240.0.9
              clusterIPs: [240.240.0.9]
              internalTrafficPolicy: Cluster
              ipFamilies: [IPv4]
              ipFamilyPolicy: SingleStack
              ports: [{port: 80, protocol: TCP, targetPort: 8080}]
              selector: {app: web}
              sessionAffinity: None
              type: ClusterIP
            status:
              loadBalancer: {}
            """
        guard case .service(let value) = try resources(exported).first else { return }
        #expect(value.spec.clusterIP == "240.240.0.9")
        #expect(value.spec.clusterIPs.isEmpty)
        #expect(value.requestedAddresses.map(\.description) == ["240.240.0.9"])
    }

    // MARK: - Hostile text

    struct Hostile: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var text: String
        /// Part of the reason.
        var reason: String

        init(_ name: String, _ text: String, _ reason: String) {
            (self.testDescription, self.text, self.reason) = (name, text, reason)
        }
    }

    private static let bomb: String = {
        let levels = (1...12).map { level in
            "a\(level): &a\(level) [" + Array(repeating: "*a\(level - 1)", count: 9).joined(separator: ", ") + "]"
        }
        return "a0: &a0 lol\n" + levels.joined(separator: "\n")
    }()

    static let hostile: [Hostile] = [
        .init("empty", "", "no resource"),
        .init("only comments", "# nothing\n---\n# more\n", "no resource"),
        .init("nulls", "---\n~\n---\nnull\n", "no resource"),
        .init("a text", "hello", "has to be an object, not text"),
        .init("a number", "5", "has to be an object, not a number"),
        .init("a list", "- a\n- b", "has to be an object, not a list"),
        .init("an empty object", "{}", "is required"),
        .init("an unclosed list", "a: [1, 2", "cannot be read"),
        .init("an unclosed text", "a: \"x", "cannot be read"),
        .init("an unclosed JSON object", "{\"apiVersion\": \"v1\", \"kind\": ", "cannot be read"),
        .init("tabs as indentation", "a:\n\tb: 1", "cannot be read"),
        .init("a NUL", "a: \u{0}b", "cannot be read"),
        .init("a control character", "a: \u{7}b", "cannot be read"),
        .init("a lone surrogate", "a: \"\\ud800\"", "cannot be read"),
        .init("a stray bracket", "]", "cannot be read"),
        .init("bad indentation", "a: 1\n b: 2", "cannot be read"),
        .init("a bad directive", "%YAML 9.9\n---\na: 1", "cannot be read"),
        .init("an unknown alias", "a: *nowhere", "undefined alias"),
        .init("an anchor", service.replacing("name: web", with: "name: &n web"), "anchors"),
        .init("an anchor on an object", "a: &a {b: 1}\nc: *a", "anchors"),
        .init("an anchor on a key", "&a b: 1", "plain or quoted text"),
        .init("an alias as a key", "a: &a b\n*a : 1", "anchors"),
        .init("an alias to its own parent", "&a [*a]", "cannot be read"),
        .init("a merge key", "a: &a {b: 1}\nc:\n  <<: *a", "anchors"),
        .init("a bomb of aliases", bomb, "anchors"),
        .init("a bomb of aliases in a key", "? " + bomb.replacing("\n", with: "\n  ") + "\n: 1\n", "anchors"),
        .init("a tag", "a: !!int \"5\"", "tags"),
        .init("a local tag", "a: !secret x", "tags"),
        .init("a tagged object", "!!set {a: , b: }", "tags"),
        .init("an object as a key", "{a: 1}: 2", "plain or quoted text"),
        .init("a list as a key", "? [a, b]\n: 2", "plain or quoted text"),
        .init("many explicit keys", String(repeating: "? ", count: 100) + "a", "explicit keys"),
        .init("a duplicate key", "a: 1\na: 2", "duplicate key 'a'"),
        .init("a duplicate JSON key", "{\"a\": 1, \"b\": {\"c\": 1, \"c\": 1}}", "duplicate key 'c'"),
        .init("a duplicate key in quotes", "1: a\n\"1\": b", "duplicate key '1'"),
        .init("deep lists", String(repeating: "[", count: 200) + String(repeating: "]", count: 200), "deeper than"),
        .init(
            "very deep lists", String(repeating: "[", count: 900) + String(repeating: "]", count: 900), "deeper than"),
        .init("unbounded lists", String(repeating: "[", count: 100_000), "cannot be read"),
        .init("unbounded objects", String(repeating: "{a: ", count: 100_000), "cannot be read"),
        .init("deep block lists", String(repeating: "- ", count: 900) + "a", "deeper than"),
        .init("unbounded block lists", String(repeating: "- ", count: 100_000) + "a", "cannot be read"),
        .init("an oversized text", "a: " + String(repeating: "x", count: 1 << 20), "bytes"),
        .init("many values", "a: [" + String(repeating: "1,", count: 300_000) + "]", "more than 200000 values"),
        .init("many documents", String(repeating: "---\na: 1\n", count: 2000), "is required"),
        .init(
            "many problems", service + "\n" + (0..<9999).map { "k\($0): 1" }.joined(separator: "\n"),
            "unknown field"),
        .init("a long key", "? " + String(repeating: "k", count: 5000) + "\n: 1", "is required"),
        .init("a list without items", "apiVersion: v1\nkind: List", "is required"),
        .init("a list in a list", "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: List}]", "not supported"),
        .init("a list of numbers", "apiVersion: v1\nkind: List\nitems: [1]", "has to be an object"),
        .init("a list that is an object", "apiVersion: v1\nkind: List\nitems: {}", "has to be a list"),
        .init("a kind that is a list", "apiVersion: v1\nkind: [Service]", "has to be text, not a list"),
        .init(
            "a wrong version", service.replacing("apiVersion: v1", with: "apiVersion: v2"), "has to be v1 for Service"),
        .init("a number as a name", service.replacing("name: web", with: "name: 5"), "put it in quotes"),
        .init("a truth value as a name", service.replacing("name: web", with: "name: yes"), "put it in quotes"),
        .init("an upper-case name", service.replacing("name: web", with: "name: Web"), "not a valid name"),
        .init("a name that is a path", service.replacing("name: web", with: "name: ../web"), "not a valid name"),
        .init("a name with a dot", service.replacing("name: web", with: "name: a.b"), "not a valid name"),
        .init(
            "a long name", service.replacing("name: web", with: "name: " + String(repeating: "a", count: 64)),
            "not a valid name"),
        .init("no name", service.replacing("  name: web\n", with: ""), "is required"),
        .init("a bad namespace", service.replacing("namespace: shop", with: "namespace: -"), ""),
        .init("a null spec", "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:", "is required"),
        .init(
            "a spec that is text", "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: x", "has to be an object"),
        .init("a generated name", "apiVersion: v1\nkind: Service\nmetadata: {generateName: a-}", "give metadata.name"),
        .init("an unknown field", service + "\nextra: 1", "unknown field"),
        .init(
            "an unknown field below", service.replacing("targetPort", with: "targetport"),
            "unknown field; known here: name, port"),
        .init(
            "a bad label key",
            service.replacing("        app: web", with: "").replacing("app: web", with: "a/b/c: web"), "not a valid key"
        ),
        .init("a bad label value", service.replacing("app: web", with: "app: 'w b'"), "not a valid label value"),
        .init("a numeric label", service.replacing("app: web", with: "app: 1.0"), "put it in quotes"),
        .init("not UTF-8 any more", service.replacing("name: web", with: "name: \"\u{fffd}\""), "not a valid name"),
    ]

    @Test(arguments: hostile) func isRefused(_ row: Hostile) {
        let found = problems(row.text)
        #expect(!found.isEmpty)
        #expect(found.count <= 101)
        #expect(row.reason.isEmpty || found.contains { $0.reason.contains(row.reason) }, "\(found.prefix(3))")
    }

    /// Every beginning of a good text is either a resource or a refusal.
    @Test func truncatedTextIsNeverACrash() {
        let text = service + "\n---\n" + AuthorizationPolicyTests.full
        for length in 0...text.utf8.count {
            _ = ResourceDecoder.decode(text: String(decoding: text.utf8.prefix(length), as: UTF8.self))
        }
    }

    /// Changes of single bytes of a good text give either a resource or a refusal.
    @Test func changedTextIsNeverACrash() {
        let bytes = Array(AuthorizationPolicyTests.full.utf8)
        let replacements = Array("\u{0}\n\t *&!?-[{]}:,#'\"%@|>\\0a".utf8) + [0xff]
        for index in bytes.indices {
            var changed = bytes
            changed[index] = replacements[index % replacements.count]
            _ = ResourceDecoder.decode(text: String(decoding: changed, as: UTF8.self))
        }
    }

    @Test func documentsAndResourcesAreBounded() {
        var limits = ResourceLimits()
        limits.resources = 3
        let four = (0..<4).map { service.replacing("name: web", with: "name: web\($0)") }
        let documents = problems(four.joined(separator: "\n---\n"), limits: limits)
        #expect(documents.map(\.reason) == ["more than 3 documents"])
        let items = four.map { "- " + $0.replacing("\n", with: "\n  ") }.joined(separator: "\n")
        let list = problems("apiVersion: v1\nkind: List\nitems:\n" + items, limits: limits)
        #expect(list.map(\.reason) == ["more than 3 resources in one call"])
        #expect(list.map(\.path) == ["items[3]"])
    }

    @Test func starsAndAmpersandsInTextAreFine() throws {
        let text = """
            apiVersion: v1
            kind: Service
            metadata:
              name: web
              annotations:
                note: "a *b *c *d *e *f and & more, R&D, what ? really"
            spec: {selector: {app: web}, ports: [{port: 1}]}
            """
        #expect(try resources(text).first?.metadata.annotations["note"]?.contains("R&D") == true)
    }
}
