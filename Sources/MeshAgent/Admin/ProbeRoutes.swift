// SPDX-License-Identifier: Apache-2.0

import Hummingbird
import NIOCore

/// What anyone may ask of a node: its metrics (15020) and whether it is ready (15021).
package enum ProbeRoutes {
    /// - Parameter render: Prometheus text.
    package static func metrics(render: @escaping @Sendable () async -> String) -> Router<BasicRequestContext> {
        let router = Router()
        let answer: @Sendable (Request, BasicRequestContext) async -> Response = { _, _ in
            Response(
                status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
                body: ResponseBody(byteBuffer: ByteBuffer(string: await render())))
        }
        router.get("/metrics", use: answer)
        router.get("/stats/prometheus", use: answer)
        return router
    }

    /// - Parameter problem: nil when the node is ready, otherwise what it waits for.
    package static func readiness(problem: @escaping @Sendable () async -> String?) -> Router<BasicRequestContext> {
        let router = Router()
        router.get("/healthz/ready") { _, _ in
            let problem = await problem()
            return Response(
                status: problem == nil ? .ok : .serviceUnavailable, headers: [.contentType: "text/plain"],
                body: ResponseBody(byteBuffer: ByteBuffer(string: (problem ?? "ready") + "\n")))
        }
        return router
    }
}
