// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshModel

@main
struct NodeMeshD: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "nodemeshd",
        abstract: "The nodemesh node daemon: steers, encrypts and authorises the connections of enrolled workloads.",
        version: Version.text,
        subcommands: [Serve.self, Join.self, Cleanup.self, CanaryVerb.self, HandOverFormatsVerb.self],
        defaultSubcommand: Serve.self)
}
