// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import MeshAdminAPI
import MeshLinux
import MeshModel

/// `install-node`
package struct InstallNode: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "install-node",
        abstract: "Join this host to a mesh and start its daemon.",
        discussion: """
            `nodemeshctl join-token create` prints the whole line. Needs root, systemd and the package nodemeshd. \
            Writes the keys node, controlPlane, caFingerprint and, if given, nodeAddresses to the daemon's \
            configuration file, and leaves the others and comments as they are; exchanges the token for the node's \
            certificate; enables and starts nodemeshd.service; waits until it is ready, and shows its status. When \
            joining fails, the file is put back. On a host that has joined already it uses no token and does the rest.
            """)

    /// What the package and the unit take.
    package static let defaultFile = "/etc/nodemesh/nodemeshd.yaml"

    @Option(
        help: ArgumentHelp(
            "Where nodes reach the control plane. (required)", valueName: "host:port"), transform: Values.hostPort)
    package var control: String

    @Option(
        help: ArgumentHelp(
            "The root certificate that the control plane must prove. (required)", valueName: "sha256:hex"),
        transform: Values.fingerprint)
    package var caFingerprint: String

    @Option(
        help: ArgumentHelp(
            "A token that works once. Visible in the process list until it is used. (required, or --join-token-file)",
            valueName: "token"))
    package var joinToken: String?

    @Option(
        help: ArgumentHelp("A file with the token; -: standard input. (default: none)", valueName: "path"),
        completion: .file())
    package var joinTokenFile: String?

    @Option(
        help: ArgumentHelp("The node's name in the mesh. (default: what is set, or the host name)", valueName: "name"))
    package var node: String?

    @Option(
        help: ArgumentHelp(
            "An address on which peers reach this node; repeat it. (default: the one that routes to the control plane)",
            valueName: "ip"), transform: Values.address)
    package var nodeAddress: [IPAddress] = []

    @Option(
        help: ArgumentHelp("The daemon's configuration. (default: \(Self.defaultFile))", valueName: "path"),
        completion: .file())
    package var config: String = Self.defaultFile

    @Option(
        help: ArgumentHelp("How long it may take until the node is ready. (default: 1m)", valueName: "duration"),
        transform: Values.duration)
    package var timeout: Int = 60

    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Node") package var nodeOptions: NodeOptions

    package init() {}

    package func validate() throws {
        guard (self.joinToken == nil) != (self.joinTokenFile == nil) else {
            throw ValidationError("Give the token: --join-token TOKEN or --join-token-file PATH.")
        }
        if let node = self.node, !SPIFFEID.isValidSegment(node) {
            throw ValidationError("'\(node)' is not a node's name: use letters, digits, '.', '-' and '_'.")
        }
    }

    package func run() async throws {
        let context = CLIContext.current
        let unit = DaemonUnit(host: context.host)
        try unit.checkInstalled()
        let token = try self.token(context)
        context.console.writeError("Joining the mesh at \(self.control).\n")
        try self.join(context.host, token: token)
        context.console.writeError("Joined. Starting \(DaemonUnit.name).\n")
        try unit.enableAndStart()
        let body = try await self.whenReady(context.host)
        let printer = Printer(self.output)
        try printer.print(body) { () throws(CLIError) in
            try self.nodeOptions.client.decode(NodeStatus.self, from: body)
                .facts(at: printer.now, isWide: printer.isWide).text(color: printer.usesColor)
        }
    }

    private func token(_ context: CLIContext) throws(CLIError) -> String {
        let text: String
        if let token = self.joinToken {
            text = token
        } else if let file = self.joinTokenFile, file != "-" {
            guard let content = try context.host.text(of: file) else {
                throw CLIError("the token file \(file) is not there")
            }
            text = content
        } else {
            text = String(decoding: try context.console.readInput(limit: 4096), as: UTF8.self)
        }
        let token = text.trimmingCharacters(in: .whitespacesAndNewlines)
        guard token.hasPrefix("nmjt."), token.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
            throw CLIError(
                "this is not a join token (nmjt.<id>.<secret>)",
                hints: ["Make one on the control plane's host:  nodemeshctl join-token create"])
        }
        return token
    }

    /// With the configuration as it will be; as it was when that does not work.
    private func join(_ host: any NodeHost, token: String) throws(CLIError) {
        let before = try host.text(of: self.config)
        var settings = SettingsText(before ?? "")
        settings.set("controlPlane", SettingsText.scalar(self.control))
        settings.set("caFingerprint", self.caFingerprint)
        if let node = self.node { settings.set("node", SettingsText.scalar(node)) }
        if !self.nodeAddress.isEmpty {
            settings.set(
                "nodeAddresses",
                "[" + self.nodeAddress.map { SettingsText.scalar($0.description) }.joined(separator: ", ") + "]")
        }
        let tokenFile = "/run/nodemesh-join-token"
        do throws(CLIError) {
            try host.replace(self.config, with: settings.text, mode: 0o644)
            try host.replace(tokenFile, with: token + "\n", mode: 0o600)
            let joined = try host.run(
                "nodemeshd", ["join", "--config", self.config, "--join-token-file", tokenFile], isQuiet: false)
            try host.remove(tokenFile)
            guard let joined else { throw DaemonUnit.missing }
            guard joined.code == 0 else {
                throw CLIError(
                    "this host has not joined the mesh; nothing is changed",
                    hints: [
                        "A new line for it, on the control plane's host:  nodemeshctl join-token create",
                        "To take this host out of another mesh first:  nodemeshctl uninstall-node",
                    ])
            }
        } catch {
            try? host.remove(tokenFile)
            if let before {
                try? host.replace(self.config, with: before, mode: 0o644)
            } else {
                try? host.remove(self.config)
            }
            throw error
        }
    }

    private func whenReady(_ host: any NodeHost) async throws(CLIError) -> Data {
        let client = self.nodeOptions.client
        var why = "it does not answer"
        for _ in 0..<(self.timeout * 5) {
            if let body = try? await client.get("/v1/status"),
                let status = try? client.decode(NodeStatus.self, from: body)
            {
                if status.isReady { return body }
                why = status.problem ?? why
            }
            await host.pause(milliseconds: 200)
        }
        throw CLIError(
            "this host has joined, but its daemon is not ready after \(Human.duration(Double(self.timeout))): \(why)",
            hints: ["Why:  systemctl status nodemeshd; journalctl -u nodemeshd"])
    }
}
