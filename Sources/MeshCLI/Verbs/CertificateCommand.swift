// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// `certificate`
package struct CertificateCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "certificate", abstract: "List certificates.", subcommands: [CertificateList.self])

    package init() {}
}
