// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshModel

/// The root command. Its options are accepted before and after the verb.
package struct Nodemeshctl: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "nodemeshctl",
        abstract: "Applies, inspects and explains a nodemesh.",
        discussion: """
            Verbs that look at this node talk to nodemeshd over its Unix socket and usually need root; verbs that \
            look at the mesh talk to nodemesh-control over HTTP with the admin token. A list with --all asks the \
            control plane instead of this node.

            Data goes to standard output, everything else to standard error. JSON and YAML are the API's own bodies \
            with exact numbers; tables are for people and may change.

            EXIT STATUS
              0  success
              1  failed or refused; `explain`: not allowed; `status`: not ready;
                 `check`: a required feature is missing; `bpf status`: a link is defunct;
                 `policy test`: an answer changes
              2  the command line is wrong; `policy test`: any error
              3  nodemeshd or the control plane did not answer
              4  not found

            ENVIRONMENT
              NODEMESH_CONTROL_PLANE  as --control-plane
              NODEMESH_TOKEN_FILE     as --token-file
              NODEMESH_NODE_SOCKET    as --node-socket
              NO_COLOR                no colours; they need a terminal anyway

            SHELL COMPLETION
              nodemeshctl --generate-completion-script bash|zsh|fish
              bash: write it to /etc/bash_completion.d/nodemeshctl
              zsh:  write it to "${fpath[1]}/_nodemeshctl"
              fish: write it to ~/.config/fish/completions/nodemeshctl.fish
            """,
        version: Version.text,
        groupedSubcommands: [
            CommandGroup(
                name: "This node",
                subcommands: [
                    CheckCommand.self, StatusCommand.self, ConnectionsCommand.self, TopCommand.self, EventsCommand.self,
                    ExplainCommand.self, BPFCommand.self, DNSCommand.self, ConfigCommand.self, LogsCommand.self,
                    BugreportCommand.self, InstallNode.self, UninstallNode.self,
                ]),
            CommandGroup(
                name: "Mesh",
                subcommands: [
                    WorkloadCommand.self, ServiceCommand.self, CertificateCommand.self, NodeCommand.self,
                    JoinTokenCommand.self, CACommand.self, AcceptRestoreCommand.self,
                ]),
            CommandGroup(
                name: "Resources",
                subcommands: [ApplyCommand.self, GetCommand.self, DeleteCommand.self, PolicyCommand.self]),
            CommandGroup(name: "Program", subcommands: [VersionCommand.self]),
        ])

    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Node") package var node: NodeOptions
    @OptionGroup(title: "Control plane") package var controlPlane: ControlPlaneOptions

    package init() {}
}
