// SPDX-License-Identifier: Apache-2.0

import Testing

/// Two nodes; `alice` and `near` on the first, `bob`, `far`, `farther` and `programs` on the second, `outsider` outside
/// the mesh. See Resources/two-nodes.yaml and the ports of Resources/peer.py.
@Suite("two nodes", .serialized, .lab("two-nodes"))
enum TwoNodes {
    /// Where a server is, seen from the client `alice`.
    struct Server: CustomTestStringConvertible, Sendable {
        var workload: String
        var address: String
        var testDescription: String { self.workload }

        /// On the client's node.
        static let near = Server(workload: "near", address: "10.201.1.2")
        /// On the other node.
        static let far = Server(workload: "far", address: "10.201.2.2")
        static let both = [Self.near, Self.far]
        static let outsider = Server(workload: "outsider", address: "10.202.2.5")
    }

    static let alice = "10.201.1.1"
    static let bob = "10.201.2.1"
}
