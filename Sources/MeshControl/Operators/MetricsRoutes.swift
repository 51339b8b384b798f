// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hummingbird
import MeshTelemetry
import NIOCore

/// The listener that Prometheus reads.
package enum MetricsRoutes {
    package static func router(_ registry: MetricsRegistry) -> Router<BasicRequestContext> {
        var routes = Routes()
        routes.add(.get, "/metrics") { _, _ in
            Response(
                status: .ok, headers: [.contentType: MetricsRegistry.contentType],
                body: ResponseBody(byteBuffer: ByteBuffer(string: registry.render())))
        }
        let router = Router()
        router.addMiddleware { JSONErrors(routes: routes.table) }
        for route in routes.all {
            router.on(RouterPath(route.path), method: route.method) { request, context in
                try await route.handler(request, context)
            }
        }
        return router
    }
}
