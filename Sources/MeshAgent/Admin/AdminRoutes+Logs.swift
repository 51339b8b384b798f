// SPDX-License-Identifier: Apache-2.0

import Foundation
import Hummingbird
import MeshAdminAPI
import MeshTelemetry

extension AdminRoutes {
    /// The levels of the log, and its latest lines.
    static func addLogs(to router: Router<BasicRequestContext>, _ logs: LogLevels) {
        router.get("/v1/logs/levels") { _, _ in try Self.json(logs.summary) }
        router.get("/v1/logs/lines") { _, _ in try Self.json(logs.lines) }
        router.post("/v1/logs/levels") { request, _ in
            let body = try await request.body.collect(upTo: Self.maximumBody)
            let wanted: LogLevelRequest
            do {
                wanted = try AdminJSON.decoder.decode(LogLevelRequest.self, from: Data(body.readableBytesView))
            } catch {
                throw APIError(.badRequest, "the body is not {component, level, seconds}: \(error)")
            }
            return try Self.json(logs.take(wanted))
        }
    }
}
