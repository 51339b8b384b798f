// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshAdminAPI

/// `ca rotate`
package struct CARotate: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "rotate", abstract: "Make a new root and have every node trust it as well.",
        discussion: "It begins to sign, by itself, when every node has said that it and its data plane trust it.")

    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Control plane") package var controlPlane: ControlPlaneOptions

    package init() {}

    package func run() async throws {
        try await CAStep.post("rotate", force: false, self.controlPlane, self.output)
    }
}

/// `ca cancel`
package struct CACancel: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "cancel", abstract: "Take a new root back that does not sign yet.")

    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Control plane") package var controlPlane: ControlPlaneOptions

    package init() {}

    package func run() async throws {
        try await CAStep.post("cancel", force: false, self.controlPlane, self.output)
    }
}

/// `ca activate`
package struct CAActivate: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "activate", abstract: "Have the new root sign now.",
        discussion: "It does so by itself when no node is left for which it waits; --force does not wait for any.")

    @Flag(
        help:
            "Cut off the nodes that do not trust it yet: they have to join again once the old root is retired. (default: refuse)"
    )
    package var force = false

    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Control plane") package var controlPlane: ControlPlaneOptions

    package init() {}

    package func run() async throws {
        try await CAStep.post("activate", force: self.force, self.controlPlane, self.output)
    }
}

/// `ca retire`
package struct CARetire: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "retire", abstract: "End a rotation: nobody trusts the old root any more.",
        discussion: "Refused while a node uses certificates under it or is away; `ca status` names those nodes.")

    @Flag(help: "Cut off the nodes that still need the old root: they have to join again. (default: refuse)")
    package var force = false

    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Control plane") package var controlPlane: ControlPlaneOptions

    package init() {}

    package func run() async throws {
        try await CAStep.post("retire", force: self.force, self.controlPlane, self.output)
    }
}

/// What the steps have in common.
private enum CAStep {
    static func post(
        _ step: String, force: Bool, _ controlPlane: ControlPlaneOptions, _ output: OutputOptions
    ) async throws {
        let client = try controlPlane.client()
        let body = try await client.send(APIRequest(.post, "/v1/ca/\(step)\(force ? "?force=true" : "")"))
        try CAStatus.show(body, from: client, Printer(output))
    }
}
