// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// How to reach nodemeshd on this machine.
package struct NodeOptions: ParsableArguments {
    /// Where nodemeshd listens unless configured.
    package static let defaultSocket = "/run/nodemesh/nodemeshd.sock"

    @Option(
        help: ArgumentHelp(
            "The Unix socket of nodemeshd. (env: NODEMESH_NODE_SOCKET; default: \(Self.defaultSocket))",
            valueName: "path"),
        completion: .file())
    package var nodeSocket: String?

    package init() {}

    /// The operator named a socket, on the command line or in the environment.
    var isExplicit: Bool { self.nodeSocket != nil || CLIContext.current.variable("NODEMESH_NODE_SOCKET") != nil }

    var client: APIClient {
        let context = CLIContext.current
        let path = self.nodeSocket ?? context.variable("NODEMESH_NODE_SOCKET") ?? Self.defaultSocket
        return APIClient(endpoint: .node(socket: path), transport: context.transport)
    }
}
