// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// `join-token delete`
package struct JoinTokenDelete: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Make a token useless before it expires.",
        discussion: "A node that has joined with it stays: see `node delete`.")

    @Argument(help: "The token's id from `join-token list`, or the token itself.")
    package var id: String

    @OptionGroup(title: "Control plane") package var controlPlane: ControlPlaneOptions

    package init() {}

    /// The secret half never goes into a URL, which proxies and logs keep.
    private var plainID: String {
        let parts = self.id.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 3 && parts[0] == "nmjt" ? String(parts[1]) : self.id
    }

    package func validate() throws {
        if self.plainID.isEmpty { throw ValidationError("The id is empty.") }
    }

    package func run() async throws {
        let target = "/v1/join-tokens/\(APIRequest.encode(self.plainID))"
        _ = try await self.controlPlane.client().send(APIRequest(.delete, target))
        CLIContext.current.console.writeError("Token \(self.plainID) is deleted.\n")
    }
}
