// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// `service`
package struct ServiceCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "service", abstract: "List services and their endpoints.", subcommands: [ServiceList.self])

    package init() {}
}
