// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshModel

/// `http://HOST:PORT` or `https://HOST:PORT`, without a path.
package struct ControlPlaneURL: Sendable, Equatable, CustomStringConvertible {
    /// Without a trailing slash.
    package let description: String
    /// Without brackets.
    package let host: String
    package let isTLS: Bool

    package init(_ text: String) throws(CLIError) {
        guard let url = URLComponents(string: text), let scheme = url.scheme?.lowercased(),
            ["http", "https"].contains(scheme), let host = url.host, !host.isEmpty,
            url.path.isEmpty || url.path == "/", url.query == nil, url.fragment == nil, url.user == nil
        else {
            throw CLIError(
                "\(text) is not the address of a control plane",
                hints: ["Write http://HOST:PORT or https://HOST:PORT."],
                status: .usage)
        }
        self.description = url.path.isEmpty ? text : String(text.dropLast())
        self.host = host.trimmingCharacters(in: ["[", "]"])
        self.isTLS = scheme == "https"
    }

    /// Nothing that is sent leaves this machine.
    package var isLoopback: Bool { self.host == "localhost" || IPAddress(self.host)?.isLoopback == true }
}
