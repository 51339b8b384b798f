// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// `bpf`
package struct BPFCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "bpf", abstract: "Show what this node has in the kernel.", subcommands: [BPFStatusCommand.self])

    package init() {}
}
