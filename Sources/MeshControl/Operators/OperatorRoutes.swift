// SPDX-License-Identifier: Apache-2.0

import Foundation
import HTTPTypes
import Hummingbird
import MeshAdminAPI
import MeshResources
import NIOCore

/// The control plane's REST API: JSON, bearer token, every failure an ``ErrorResponse``.
package enum OperatorRoutes {
    /// A request body larger than this is refused: as much as the decoder of resources takes.
    static let maximumBody = ResourceLimits().bytes

    package static func router(
        _ api: OperatorAPI, token: String, metrics: ControlMetrics
    ) -> Router<BasicRequestContext> {
        var routes = Routes()
        self.addResources(api, to: &routes)
        self.addViews(api, to: &routes)
        self.addTokens(api, to: &routes)
        self.addPolicyTest(api, to: &routes)
        self.addExplain(api, to: &routes)
        self.addAuthorities(api, to: &routes)
        self.addProgram(api, to: &routes)
        let router = Router()
        router.addMiddleware {
            RequestCounter(metrics: metrics)
            JSONErrors(routes: routes.table)
            BearerAuthentication(token: token, open: ["/healthz", "/v1/ca"], metrics: metrics)
        }
        for route in routes.all {
            router.on(RouterPath(route.path), method: route.method) { request, context in
                try await route.handler(request, context)
            }
        }
        return router
    }

    private static func addResources(_ api: OperatorAPI, to routes: inout Routes) {
        routes.add(.post, "/v1/apply") { request, _ in
            let dryRun = try Self.flag("dryRun", request)
            return try Self.json(await api.apply(try await Self.text(request), dryRun: dryRun))
        }
        routes.add(.post, "/v1/delete") { request, _ in
            let dryRun = try Self.flag("dryRun", request)
            let ignoringAbsent = try Self.flag("ignoreNotFound", request)
            return try Self.json(
                await api.delete(try await Self.text(request), dryRun: dryRun, ignoringAbsent: ignoringAbsent))
        }
        for path in ["/v1/resources/{kind}", "/v1/resources/{kind}/{namespace}"] {
            routes.add(.get, path) { _, context in
                let texts = try await api.resources(
                    kind: try Self.kind(context), namespace: context.parameters.get("namespace"), name: nil)
                return Self.json(text: "[" + texts.joined(separator: ",") + "]")
            }
        }
        routes.add(.get, "/v1/resources/{kind}/{namespace}/{name}") { _, context in
            let key = try Self.key(context)
            let texts = try await api.resources(kind: key.kind, namespace: key.namespace, name: key.name)
            return Self.json(text: texts.first ?? "{}")
        }
        routes.add(.delete, "/v1/resources/{kind}/{namespace}/{name}") { _, context in
            try await api.delete(try Self.key(context))
            return Response(status: .noContent)
        }
    }

    private static func addViews(_ api: OperatorAPI, to routes: inout Routes) {
        routes.add(.get, "/healthz") { _, _ in
            try await api.checkHealth()
            return Self.json(text: "{\"status\":\"ok\"}")
        }
        routes.add(.get, "/v1/status") { _, _ in try Self.json(await api.status()) }
        routes.add(.get, "/v1/nodes") { _, _ in try Self.json(await api.nodes()) }
        routes.add(.delete, "/v1/nodes/{name}") { _, context in
            try await api.deleteNode(try context.parameters.require("name"))
            return Response(status: .noContent)
        }
        routes.add(.get, "/v1/workloads") { _, _ in try Self.json(await api.workloads()) }
        routes.add(.get, "/v1/services") { _, _ in try Self.json(await api.services()) }
        routes.add(.get, "/v1/certificates") { _, _ in try Self.json(await api.certificates()) }
        routes.add(.get, "/v1/ca") { _, _ in
            Response(
                status: .ok, headers: [.contentType: "application/x-pem-file"],
                body: ResponseBody(byteBuffer: ByteBuffer(string: try api.trustBundle())))
        }
    }

    private static func addTokens(_ api: OperatorAPI, to routes: inout Routes) {
        routes.add(.post, "/v1/join-tokens") { request, _ in
            let body = try await Self.text(request)
            let wanted: JoinTokenRequest
            do {
                wanted = try AdminJSON.decoder.decode(
                    JoinTokenRequest.self, from: Data((body.isEmpty ? "{}" : body).utf8))
            } catch {
                throw APIError(.badRequest, "the body is not {\"node\": NAME, \"ttlSeconds\": NUMBER}")
            }
            return try Self.json(await api.createJoinToken(wanted), status: .created)
        }
        routes.add(.get, "/v1/join-tokens") { _, _ in try Self.json(await api.joinTokens()) }
        routes.add(.delete, "/v1/join-tokens/{id}") { _, context in
            try await api.deleteJoinToken(try context.parameters.require("id"))
            return Response(status: .noContent)
        }
    }

    // MARK: - Reading requests

    private static func kind(_ context: BasicRequestContext) throws -> ResourceKind {
        let text = try context.parameters.require("kind")
        guard let kind = ResourceKind(argument: text) else {
            let known = ResourceKind.allCases.map(\.rawValue).joined(separator: ", ")
            throw APIError(.notFound, "there is no kind '\(text.prefix(64))'; known are \(known)")
        }
        return kind
    }

    private static func key(_ context: BasicRequestContext) throws -> ResourceKey {
        ResourceKey(
            kind: try Self.kind(context), namespace: try context.parameters.require("namespace"),
            name: try context.parameters.require("name"))
    }

    static func flag(_ name: String, _ request: Request) throws -> Bool {
        guard let value = request.uri.queryParameters[Substring(name)] else { return false }
        switch value {
        case "true", "": return true
        case "false": return false
        case let other: throw APIError(.badRequest, "\(name) has to be true or false, not '\(other.prefix(32))'")
        }
    }

    static func text(_ request: Request, limit: Int = Self.maximumBody) async throws -> String {
        let body: ByteBuffer
        do {
            body = try await request.body.collect(upTo: limit)
        } catch is NIOTooManyBytesError {
            throw APIError(
                .contentTooLarge, "the body is larger than \(limit) bytes: send it in several calls")
        }
        guard let text = String(validating: body.readableBytesView, as: UTF8.self) else {
            throw APIError(.badRequest, "the body is not UTF-8 text")
        }
        return text
    }

    // MARK: - Writing answers

    static func json(_ value: some Encodable, status: HTTPResponse.Status = .ok) throws -> Response {
        Self.json(text: String(decoding: try AdminJSON.encoder.encode(value), as: UTF8.self), status: status)
    }

    static func json(text: String, status: HTTPResponse.Status = .ok) -> Response {
        Response(
            status: status, headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }
}
