// SPDX-License-Identifier: Apache-2.0

import Hummingbird
import NIOCore

extension AdminRoutes {
    /// What the daemon uses, and its metrics for those who have its socket and not its port.
    static func addUsage(to router: Router<BasicRequestContext>, _ backend: any AdminBackend) {
        router.get("/v1/usage") { _, _ in try Self.json(backend.usage()) }
        router.get("/v1/metrics") { _, _ in
            Response(
                status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
                body: ResponseBody(byteBuffer: ByteBuffer(string: await backend.metrics())))
        }
    }
}
