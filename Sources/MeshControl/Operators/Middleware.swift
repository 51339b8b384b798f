// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hummingbird
import Logging
import MeshAdminAPI
import MeshStore

/// Lets nobody in without the operators' token.
struct BearerAuthentication<Context: RequestContext>: RouterMiddleware {
    let token: String
    /// Paths for everybody.
    let open: Set<String>
    let metrics: ControlMetrics

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        if self.open.contains(request.uri.path) { return try await next(request, context) }
        guard let header = request.headers[.authorization] else {
            throw self.refusal("this needs the admin token: send the header 'Authorization: Bearer TOKEN'")
        }
        let parts = header.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "bearer",
            Secret.isEqual(parts[1].filter { $0 != " " }, self.token)
        else {
            throw self.refusal("this is not the admin token: it is in the file admin.token of the data directory")
        }
        return try await next(request, context)
    }

    private func refusal(_ message: String) -> APIError {
        self.metrics.refused(.adminToken)
        return APIError(.unauthorized, message)
    }
}

/// Gives every failure the one JSON form of ``ErrorResponse``.
struct JSONErrors<Context: RequestContext>: RouterMiddleware {
    let routes: RouteTable

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let error as APIError {
            var response = try OperatorRoutes.json(error.response, status: error.status)
            if error.status == .unauthorized { response.headers[.wwwAuthenticate] = "Bearer" }
            return response
        } catch let error as HTTPError where error.status == .notFound && error.body == nil {
            return try self.noRoute(request)
        } catch let error as HTTPError {
            let text = error.body ?? "\(request.method) \(request.uri.path): \(error.status.reasonPhrase)"
            return try OperatorRoutes.json(ErrorResponse(error: text), status: error.status)
        } catch {
            context.logger.error("a request failed", metadata: ["path": "\(request.uri.path)", "error": "\(error)"])
            return try OperatorRoutes.json(ErrorResponse(error: "\(error)"), status: .internalServerError)
        }
    }

    private func noRoute(_ request: Request) throws -> Response {
        let methods = self.routes.methods(of: request.uri.path).map(\.rawValue).sorted()
        if methods.isEmpty {
            return try OperatorRoutes.json(
                ErrorResponse(error: "there is nothing at \(request.uri.path.prefix(256))"), status: .notFound)
        }
        let allowed = methods.joined(separator: ", ")
        var response = try OperatorRoutes.json(
            ErrorResponse(
                error: "\(request.method) is not possible at \(request.uri.path.prefix(256)); possible: \(allowed)"),
            status: .methodNotAllowed)
        response.headers[.allow] = allowed
        return response
    }
}

/// Counts requests by method and status.
struct RequestCounter<Context: RequestContext>: RouterMiddleware {
    let metrics: ControlMetrics

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        let response = try await next(request, context)
        // What a stranger makes up as a method is one word.
        let known: Set<HTTPRequest.Method> = [.get, .post, .delete, .put, .patch, .head, .options]
        let method = known.contains(request.method) ? request.method.rawValue : "other"
        self.metrics.request("rest", method, String(response.status.code))
        return response
    }
}
