// SPDX-License-Identifier: Apache-2.0

import Foundation
import HTTPTypes
import Hummingbird
import MeshAdminAPI
import MeshExplain
import MeshModel
import NIOCore

/// The daemon's admin API: HTTP/JSON on a Unix socket that only root can open.
package enum AdminRoutes {
    /// A request body larger than this is refused.
    static let maximumBody = 256 * 1024

    package static func router(_ backend: any AdminBackend) -> Router<BasicRequestContext> {
        let router = Router()
        router.addMiddleware { JSONErrors() }
        router.get("/v1/status") { _, _ in try Self.json(await backend.status()) }
        router.get("/v1/workloads") { _, _ in try Self.json(await backend.workloads()) }
        router.get("/v1/connections") { _, _ in try Self.json(await backend.connections()) }
        router.get("/v1/services") { _, _ in try Self.json(await backend.services()) }
        router.get("/v1/certificates") { _, _ in try Self.json(await backend.certificates()) }
        router.get("/v1/config") { _, _ in try Self.json(backend.configuration()) }
        router.post("/v1/workloads") { request, _ in
            let body = try await request.body.collect(upTo: Self.maximumBody)
            let enrolment: EnrolRequest
            do {
                enrolment = try AdminJSON.decoder.decode(EnrolRequest.self, from: Data(body.readableBytesView))
            } catch {
                throw APIError(.badRequest, "the body is not an enrolment: \(error)")
            }
            return try Self.json(await backend.enrol(enrolment), status: .created)
        }
        router.delete("/v1/workloads/{namespace}/{name}") { _, context in
            let id = WorkloadID(
                namespace: try context.parameters.require("namespace"), name: try context.parameters.require("name"))
            try await backend.unenrol(id)
            return Response(status: .noContent)
        }
        Self.addTemplates(to: router, backend)
        Self.addKernel(to: router, backend)
        Self.addNames(to: router, backend)
        Self.addLogs(to: router, backend.logs)
        Self.addUsage(to: router, backend)
        router.get("/v1/explain") { request, _ in
            guard let source = request.uri.queryParameters["source"],
                let destination = request.uri.queryParameters["destination"]
            else {
                throw APIError(.badRequest, "explain needs ?source=NAMESPACE/NAME&destination=HOST:PORT")
            }
            let answer: Explanation
            do throws(ExplainError) {
                answer = try await backend.explain(source: String(source), destination: String(destination))
            } catch {
                throw APIError(error.code == .notFound ? .notFound : .badRequest, error.message)
            }
            return try Self.json(answer)
        }
        return router
    }

    static func json(_ value: some Encodable, status: HTTPResponse.Status = .ok) throws -> Response {
        Response(
            status: status, headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: try AdminJSON.encoder.encode(value))))
    }
}

/// A refusal with its HTTP status.
struct APIError: Error {
    let status: HTTPResponse.Status
    let message: String

    init(_ status: HTTPResponse.Status, _ message: String) {
        self.status = status
        self.message = message
    }
}

/// Gives every failure the one JSON form of ``ErrorResponse``.
struct JSONErrors<Context: RequestContext>: RouterMiddleware {
    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let error as APIError {
            return try Self.answer(error.status, ErrorResponse(error: error.message))
        } catch let error as ErrorResponse {
            return try Self.answer(.unprocessableContent, error)
        } catch let error as EnrolmentError {
            return try Self.answer(Self.status(of: error.code), ErrorResponse(error: error.description))
        } catch let error as HTTPError {
            let text = error.body ?? "\(request.method) \(request.uri.path): \(error.status.reasonPhrase)"
            return try Self.answer(error.status, ErrorResponse(error: text))
        } catch {
            return try Self.answer(.internalServerError, ErrorResponse(error: "\(error)"))
        }
    }

    private static func status(of code: EnrolmentError.Code) -> HTTPResponse.Status {
        switch code {
        case .invalid, .absent, .empty: .badRequest
        case .conflict: .conflict
        case .notFound: .notFound
        case .kernel, .storage: .internalServerError
        }
    }

    private static func answer(_ status: HTTPResponse.Status, _ error: ErrorResponse) throws -> Response {
        try AdminRoutes.json(error, status: status)
    }
}
