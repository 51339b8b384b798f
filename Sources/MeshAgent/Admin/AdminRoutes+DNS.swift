// SPDX-License-Identifier: Apache-2.0

import Hummingbird
import MeshAdminAPI

extension AdminRoutes {
    static func addNames(to router: Router<BasicRequestContext>, _ backend: any AdminBackend) {
        router.get("/v1/dns") { _, _ in try Self.json(await backend.names()) }
        router.get("/v1/dns/lookup") { request, _ in
            let parameters = request.uri.queryParameters
            guard let name = parameters["name"] else {
                throw APIError(.badRequest, "a lookup needs ?name=NAME, and may have type, workload and resolver")
            }
            return try Self.json(
                try await backend.lookup(
                    name: String(name), type: parameters["type"].map(String.init),
                    workload: parameters["workload"].map(String.init),
                    resolver: parameters["resolver"].map(String.init)))
        }
    }
}
