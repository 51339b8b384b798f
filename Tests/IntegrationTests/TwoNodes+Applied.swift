// SPDX-License-Identifier: Apache-2.0

import Foundation

extension TwoNodes {
    /// Applies policies, together with one on the workload `farther`: when that one is felt, the nodes have them all,
    /// and a connection that is allowed is so under them and not before them.
    static func with(_ documents: String, _ body: () throws -> Void) throws {
        let all = "\(documents)\n---\n\(Self.sentinel)"
        try Lab.current.apply(all)
        do {
            try self.awaitSentinel(felt: true)
            try body()
        } catch {
            try Lab.current.delete(all)
            throw error
        }
        try Lab.current.delete(all)
        try self.awaitSentinel(felt: false)
    }

    private static let sentinel = """
        apiVersion: security.istio.io/v1
        kind: AuthorizationPolicy
        metadata: {name: sentinel, namespace: shop}
        spec:
          selector: {matchLabels: {app: farther}}
          action: DENY
          rules: [{to: [{operation: {ports: ["7001"]}}]}]
        """

    private static func awaitSentinel(felt: Bool) throws {
        _ = try eventually(
            "the policies to be \(felt ? "there" : "gone")",
            { try Lab.current.peer("alice", "end", "10.201.2.3", "7001").lines.first ?? "nothing" }
        ) { $0.hasPrefix("eof ") != felt }
    }
}
