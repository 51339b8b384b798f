// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// `dns`
package struct DNSCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "dns", abstract: "Show how this node answers names, and look one up.",
        subcommands: [DNSStatusCommand.self, DNSLookupCommand.self])

    package init() {}
}
