// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import MeshModel

/// How to reach the control plane's operators' API.
package struct ControlPlaneOptions: ParsableArguments {
    /// Where nodemesh-control listens unless configured.
    package static let defaultURL = "http://127.0.0.1:15080"
    /// Where nodemesh-control leaves its admin token unless configured.
    package static let defaultTokenFile = "/var/lib/nodemesh-control/admin.token"

    @Option(
        help: ArgumentHelp(
            "The control plane's API. (env: NODEMESH_CONTROL_PLANE; default: \(Self.defaultURL))", valueName: "url"))
    package var controlPlane: String?

    @Option(
        help: ArgumentHelp(
            "The file that holds the admin token. (env: NODEMESH_TOKEN_FILE; default: \(Self.defaultTokenFile))",
            valueName: "path"),
        completion: .file())
    package var tokenFile: String?

    @Option(
        help: ArgumentHelp(
            "PEM roots to trust for an https control plane. (default: the system's)", valueName: "path"),
        completion: .file())
    package var caFile: String?

    package init() {}

    /// The operator named a control plane, on the command line or in the environment.
    var isExplicit: Bool {
        self.controlPlane != nil || CLIContext.current.variable("NODEMESH_CONTROL_PLANE") != nil
    }

    /// - Throws: when the URL is not usable or a token file that was named cannot be read.
    func client() throws(CLIError) -> APIClient {
        let context = CLIContext.current
        let text = self.controlPlane ?? context.variable("NODEMESH_CONTROL_PLANE") ?? Self.defaultURL
        let url = try ControlPlaneURL(text)
        let token = try self.token(context)
        if case .text = token, !url.isTLS, !url.isLoopback {
            throw CLIError(
                "refusing to send the admin token in clear text to \(text)",
                hints: [
                    "Use https:// with --ca-file; the control plane serves TLS when it listens on a public address.",
                    "Or forward a port: ssh -L 15080:127.0.0.1:15080 \(url.host)",
                ])
        }
        return APIClient(
            endpoint: .control(url: url, token: token, caFile: self.caFile), transport: context.transport)
    }

    private func token(_ context: CLIContext) throws(CLIError) -> AdminToken {
        let named = self.tokenFile ?? context.variable("NODEMESH_TOKEN_FILE")
        let path = named ?? Self.defaultTokenFile
        do {
            let data = try FileHandle(forReadingFrom: URL(fileURLWithPath: path)).read(upToCount: 4096) ?? Data()
            let text = String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
            if !text.isEmpty, text.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) {
                return .text(text, file: path)
            }
        } catch {
            // The default path is only a guess: the control plane may run elsewhere, and says 401 if it matters.
            if named == nil { return .missing(file: path, why: Self.reason(error)) }
            throw CLIError(
                "cannot read the token file \(path): \(Self.reason(error))",
                hints: [
                    "Copy \(Self.defaultTokenFile) from the control plane's host and keep it readable for you only."
                ])
        }
        throw CLIError("the token file \(path) holds no token")
    }

    private static func reason(_ error: any Error) -> String {
        switch (error as? CocoaError)?.code {
        case .fileReadNoSuchFile, .fileNoSuchFile: "no such file"
        case .fileReadNoPermission: "permission denied"
        default: error.localizedDescription
        }
    }
}
