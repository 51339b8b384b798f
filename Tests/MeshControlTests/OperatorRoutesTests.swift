// SPDX-License-Identifier: Apache-2.0

import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import MeshAdminAPI
import MeshModel
import MeshStore
import NIOCore
import Testing

@testable import MeshControl

@Suite struct OperatorRoutesTests {
    private func test(
        _ fixture: Fixture, _ body: @escaping @Sendable (any TestClientProtocol, HTTPFields) async throws -> Void
    ) async throws {
        let app = Application(
            router: OperatorRoutes.router(
                fixture.plane.operators, token: fixture.plane.adminToken, metrics: fixture.plane.metrics))
        let headers: HTTPFields = [.authorization: "Bearer \(fixture.plane.adminToken)"]
        try await app.test(.router) { try await body($0, headers) }
    }

    private static func error(_ response: TestResponse) throws -> ErrorResponse {
        try AdminJSON.decoder.decode(ErrorResponse.self, from: Data(response.body.readableBytesView))
    }

    private static func decode<Value: Decodable>(_ type: Value.Type, _ response: TestResponse) throws -> Value {
        try AdminJSON.decoder.decode(type, from: Data(response.body.readableBytesView))
    }

    @Test func nobodyComesInWithoutTheToken() async throws {
        let fixture = try await Fixture()
        let token = fixture.plane.adminToken
        try await self.test(fixture) { client, _ in
            let wrong: [HTTPFields] = [
                [:], [.authorization: "Bearer wrong"], [.authorization: token], [.authorization: "Basic \(token)"],
                [.authorization: "Bearer \(token)x"], [.authorization: "Bearer"], [.authorization: "Bearer "],
            ]
            for headers in wrong {
                for path in ["/v1/status", "/v1/nodes", "/v1/resources/service", "/no/such/thing"] {
                    let response = try await client.execute(uri: path, method: .get, headers: headers)
                    #expect(response.status == .unauthorized)
                    #expect(try Self.error(response).error.contains("admin token"))
                }
            }
            #expect(try await client.execute(uri: "/healthz", method: .get).status == .ok)
            let bundle = try await client.execute(uri: "/v1/ca", method: .get)
            #expect(String(buffer: bundle.body).hasPrefix("-----BEGIN CERTIFICATE-----"))
        }
    }

    @Test func everyFailureIsJSON() async throws {
        try await self.test(try await Fixture()) { client, headers in
            let cases: [(HTTPRequest.Method, String, HTTPResponse.Status)] = [
                (.get, "/nothing", .notFound), (.put, "/v1/status", .methodNotAllowed),
                (.get, "/v1/apply", .methodNotAllowed), (.get, "/v1/resources/gadget", .notFound),
                (.get, "/v1/resources/service/shop/absent", .notFound),
                (.delete, "/v1/resources/service/shop/absent", .notFound), (.delete, "/v1/nodes/absent", .notFound),
                (.delete, "/v1/join-tokens/absent", .notFound), (.post, "/v1/apply?dryRun=perhaps", .badRequest),
            ]
            for (method, path, status) in cases {
                let response = try await client.execute(uri: path, method: method, headers: headers)
                #expect(response.status == status, "\(method) \(path)")
                #expect(try Self.error(response).error.isEmpty == false)
            }
            let large = ByteBuffer(repeating: 0x20, count: OperatorRoutes.maximumBody + 1)
            let response = try await client.execute(uri: "/v1/apply", method: .post, headers: headers, body: large)
            #expect(response.status == .contentTooLarge)
            #expect(try Self.error(response).error.contains("larger"))
            let binary = try await client.execute(
                uri: "/v1/apply", method: .post, headers: headers, body: ByteBuffer(bytes: [0xff, 0xfe]))
            #expect(binary.status == .badRequest)
        }
    }

    @Test func resourcesAreAppliedReadAndDeleted() async throws {
        try await self.test(try await Fixture()) { client, headers in
            let body = ByteBuffer(string: .service("api") + "\n---\n" + .service("web"))
            let outcomes = { (response: TestResponse) in
                try Self.decode(ApplyResponse.self, response).results.map(\.outcome)
            }
            var response = try await client.execute(
                uri: "/v1/apply?dryRun=true", method: .post, headers: headers, body: body)
            #expect(try outcomes(response) == [.created, .created])
            response = try await client.execute(uri: "/v1/apply", method: .post, headers: headers, body: body)
            #expect(try outcomes(response) == [.created, .created])
            response = try await client.execute(uri: "/v1/apply", method: .post, headers: headers, body: body)
            #expect(try outcomes(response) == [.unchanged, .unchanged])
            for kind in ["service", "Services", "svc"] {
                response = try await client.execute(uri: "/v1/resources/\(kind)/shop", method: .get, headers: headers)
                let list = try JSONSerialization.jsonObject(with: Data(response.body.readableBytesView)) as? [Any]
                #expect(list?.count == 2)
            }
            response = try await client.execute(
                uri: "/v1/resources/service/shop/api", method: .get, headers: headers)
            #expect(String(buffer: response.body).contains("\"name\":\"api\""))
            response = try await client.execute(uri: "/v1/services", method: .get, headers: headers)
            let services = try Self.decode([ServiceSummary].self, response)
            #expect(services.map(\.hostname) == ["api.shop.mesh.internal", "web.shop.mesh.internal"])
            // One of each family.
            #expect(Set(services.flatMap(\.addresses)).count == 4)
            response = try await client.execute(
                uri: "/v1/resources/service/shop/api", method: .delete, headers: headers)
            #expect(response.status == .noContent)
            response = try await client.execute(uri: "/v1/delete", method: .post, headers: headers, body: body)
            #expect(response.status == .notFound)
            response = try await client.execute(uri: "/v1/services", method: .get, headers: headers)
            #expect(try Self.decode([ServiceSummary].self, response).map(\.name) == ["web"])
        }
    }

    @Test func oneFaultChangesNothingAndIsNamed() async throws {
        try await self.test(try await Fixture()) { client, headers in
            let body = ByteBuffer(
                string: .service("api") + "\n---\n" + .service("bad").replacing("port: 80", with: "prot: 80"))
            var response = try await client.execute(uri: "/v1/apply", method: .post, headers: headers, body: body)
            #expect(response.status == .unprocessableContent)
            let problem = try #require(try Self.error(response).problems.first)
            #expect(problem.document == 2)
            #expect(problem.name == "bad")
            #expect(problem.line != nil)
            #expect(problem.path.hasPrefix("spec.ports[0]"))
            response = try await client.execute(uri: "/v1/resources/service", method: .get, headers: headers)
            #expect(String(buffer: response.body) == "[]")
        }
    }

    @Test func conflictsNameTheDocument() async throws {
        try await self.test(try await Fixture()) { client, headers in
            let apply = { (text: String) in
                try await client.execute(
                    uri: "/v1/apply", method: .post, headers: headers, body: ByteBuffer(string: text))
            }
            #expect(try await apply(.service("api", clusterIP: "240.240.0.9")).status == .ok)
            let texts = [
                (.service("other") + "\n---\n" + .service("thief", clusterIP: "240.240.0.9"), "spec.clusterIP"),
                (.service("x") + "\n---\n" + .service("outside", clusterIP: "10.9.9.9"), "spec.clusterIP"),
                (
                    .service("x")
                        + "\n---\n{apiVersion: nodemesh.io/v1, kind: Workload, metadata: {name: w, namespace: shop}, "
                        + "spec: {addresses: [240.240.0.9]}}", "spec.addresses"
                ),
            ]
            for (text, path) in texts {
                let response = try await apply(text)
                #expect(response.status == .conflict)
                let problem = try #require(try Self.error(response).problems.first)
                #expect(problem.document == 2)
                #expect(problem.path == path)
            }
            let response = try await client.execute(uri: "/v1/resources/service", method: .get, headers: headers)
            #expect(String(buffer: response.body).contains("other") == false)
        }
    }

    @Test func aDeclaredWorkloadDoesNotTakeARegisteredName() async throws {
        let fixture = try await Fixture()
        let node = try await fixture.joined("n1")
        _ = try await fixture.plane.nodes.sync(
            sync([registration("web", address: "10.0.0.1")]),
            of: AuthenticatedNode(name: "n1", joinID: node.joinID, notAfter: .distantFuture))
        try await self.test(fixture) { client, headers in
            let response = try await client.execute(
                uri: "/v1/apply", method: .post, headers: headers,
                body: ByteBuffer(
                    string: "{apiVersion: nodemesh.io/v1, kind: Workload, metadata: {name: web, namespace: shop}, "
                        + "spec: {addresses: [10.0.0.1]}}"))
            #expect(response.status == .conflict)
            #expect(try Self.error(response).problems.map(\.path) == ["metadata.name", "spec.addresses"])
        }
    }

    @Test func tokensAreShownOnceAndListedWithoutTheSecret() async throws {
        try await self.test(try await Fixture()) { client, headers in
            var response = try await client.execute(
                uri: "/v1/join-tokens", method: .post, headers: headers,
                body: ByteBuffer(string: "{\"node\":\"n1\",\"ttlSeconds\":60}"))
            #expect(response.status == .created)
            let token = try Self.decode(JoinTokenResponse.self, response)
            #expect(token.caFingerprint.hasPrefix("sha256:"))
            let parts = token.token.split(separator: ".")
            response = try await client.execute(uri: "/v1/join-tokens", method: .get, headers: headers)
            #expect(String(buffer: response.body).contains(parts[2]) == false)
            #expect(try Self.decode([JoinTokenSummary].self, response).map(\.node) == ["n1"])
            response = try await client.execute(
                uri: "/v1/join-tokens/\(parts[1])", method: .delete, headers: headers)
            #expect(response.status == .noContent)
            for body in ["{\"ttlSeconds\":0}", "{\"ttlSeconds\":99999999}", "{\"node\":\"a b\"}", "[]", "{\"node\":1}"]
            {
                response = try await client.execute(
                    uri: "/v1/join-tokens", method: .post, headers: headers, body: ByteBuffer(string: body))
                #expect(response.status == .badRequest, "\(body)")
            }
            response = try await client.execute(uri: "/v1/join-tokens", method: .post, headers: headers)
            #expect(response.status == .created)
        }
    }

    @Test func statusCountsWhatIsThere() async throws {
        let fixture = try await Fixture()
        try await fixture.joined("n1")
        try await self.test(fixture) { client, headers in
            _ = try await client.execute(
                uri: "/v1/apply", method: .post, headers: headers, body: ByteBuffer(string: .service("api")))
            let response = try await client.execute(uri: "/v1/status", method: .get, headers: headers)
            let status = try Self.decode(ControlStatus.self, response)
            #expect(status.nodes == 1)
            #expect(status.nodesAlive == 1)
            #expect(status.services == 1)
            #expect(status.policies == 0)
        }
    }
}
