// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import MeshAdminAPI
import MeshExplain
import MeshModel

extension OperatorAPI {
    /// What the node of the source would do by what it is told, and the node of the destination after it.
    package func explain(source: String, destination: String) async throws -> Explanation {
        let view = try await self.view()
        let id = WorkloadID(source)
        let node = view.workloads.first { $0.id == id }?.node
        do throws(ExplainError) {
            return try Explainer(snapshot: MeshSnapshot(view, node: node ?? ""), facts: nil)
                .explain(source: source, destination: destination)
        } catch {
            throw APIError(error.code == .notFound ? .notFound : .badRequest, error.message)
        }
    }
}
