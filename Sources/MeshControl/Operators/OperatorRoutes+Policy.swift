// SPDX-License-Identifier: Apache-2.0

import Foundation
import Hummingbird
import MeshAdminAPI

extension OperatorRoutes {
    /// Recorded connections take more room than the policies that are tested on them.
    private static let maximumTest = 64 << 20

    static func addExplain(_ api: OperatorAPI, to routes: inout Routes) {
        routes.add(.get, "/v1/explain") { request, _ in
            guard let source = request.uri.queryParameters["source"],
                let destination = request.uri.queryParameters["destination"]
            else {
                throw APIError(.badRequest, "explain needs ?source=NAMESPACE/NAME&destination=HOST:PORT")
            }
            return try Self.json(await api.explain(source: String(source), destination: String(destination)))
        }
    }

    static func addPolicyTest(_ api: OperatorAPI, to routes: inout Routes) {
        routes.add(.post, "/v1/policy-test") { request, _ in
            let body = try await Self.text(request, limit: Self.maximumTest)
            let test: PolicyTestRequest
            do {
                test = try AdminJSON.decoder.decode(PolicyTestRequest.self, from: Data(body.utf8))
            } catch {
                throw APIError(.badRequest, "the body is not {\"resources\": YAML, \"sinceSeconds\": NUMBER, ...}")
            }
            return try Self.json(await api.testPolicies(test))
        }
    }
}
