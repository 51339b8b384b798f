// SPDX-License-Identifier: Apache-2.0

import Hummingbird

extension OperatorRoutes {
    static func addAuthorities(_ api: OperatorAPI, to routes: inout Routes) {
        routes.add(.get, "/v1/ca/status") { _, _ in try Self.json(await api.authorityStatus()) }
        for step in OperatorAPI.AuthorityStep.allCases {
            routes.add(.post, "/v1/ca/\(step.rawValue)") { request, _ in
                try Self.json(await api.perform(step, force: try Self.flag("force", request)))
            }
        }
        routes.add(.post, "/v1/accept-restore") { _, _ in
            try await api.acceptRestore()
            return Response(status: .noContent)
        }
    }
}
