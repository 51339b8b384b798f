// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// `--all`: a list from the control plane instead of this node.
package struct AllOption: ParsableArguments {
    @Flag(help: "Ask the control plane about the whole mesh. (default: this node's own view)")
    package var all = false

    package init() {}

    func client(node: NodeOptions, controlPlane: ControlPlaneOptions) throws(CLIError) -> APIClient {
        self.all ? try controlPlane.client() : node.client
    }
}
