// SPDX-License-Identifier: Apache-2.0

import Foundation
import HTTPTypes
import MeshAdminAPI
import MeshConfiguration
import MeshTelemetry

extension OperatorRoutes {
    /// The program itself: its configuration and its log.
    static func addProgram(_ api: OperatorAPI, to routes: inout Routes) {
        routes.add(.get, "/v1/config") { _, _ in try Self.json(api.live.summary) }
        routes.add(.get, "/v1/logs/levels") { _, _ in try Self.json(api.logs.summary) }
        routes.add(.get, "/v1/logs/lines") { _, _ in try Self.json(api.logs.lines) }
        routes.add(.post, "/v1/logs/levels") { request, _ in
            let text = try await Self.text(request)
            let wanted: LogLevelRequest
            do {
                wanted = try AdminJSON.decoder.decode(LogLevelRequest.self, from: Data(text.utf8))
            } catch {
                throw APIError(.badRequest, "the body is not {component, level, seconds}")
            }
            let summary: LogLevelSummary
            do throws(ErrorResponse) {
                summary = try api.logs.take(wanted)
            } catch {
                throw APIError(.badRequest, error)
            }
            return try Self.json(summary)
        }
    }
}
