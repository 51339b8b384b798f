// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshControl

@main
struct NodemeshControl: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "nodemesh-control",
        abstract: "The nodemesh control plane: keeps what operators declare, issues identities, tells nodes.",
        version: ControlPlane.version, subcommands: [Serve.self], defaultSubcommand: Serve.self)
}
