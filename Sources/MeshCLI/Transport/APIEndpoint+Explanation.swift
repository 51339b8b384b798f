// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI

extension APIEndpoint {
    /// Who is asked, for messages.
    package var name: String {
        switch self {
        case .node(let socket): "nodemeshd at \(socket)"
        case .control(let url, _, _): "the control plane at \(url)"
        }
    }

    /// What the operator should read when no answer came.
    func explanation(of failure: TransportFailure) -> CLIError {
        switch self {
        case .node: self.nodeExplanation(of: failure)
        case .control(let url, _, let caFile): self.controlExplanation(of: failure, url: url, caFile: caFile)
        }
    }

    private func nodeExplanation(of failure: TransportFailure) -> CLIError {
        let elsewhere = "Does it listen elsewhere?  --node-socket PATH or NODEMESH_NODE_SOCKET"
        let running = "Is the daemon running?  systemctl status nodemeshd"
        return switch failure {
        case .noSuchSocket:
            CLIError(
                "cannot reach \(self.name): no such socket",
                hints: [
                    running, elsewhere,
                    "On a machine that is not a node, ask the control plane instead: --all where a verb has it.",
                ], status: .unreachable)
        case .notPermitted:
            CLIError(
                "cannot reach \(self.name): permission denied", hints: ["The socket is for root: use sudo."],
                status: .unreachable)
        case .refused:
            CLIError(
                "cannot reach \(self.name): the socket is there but nobody listens",
                hints: [
                    "The daemon stopped or was killed.  systemctl status nodemeshd; journalctl -u nodemeshd", elsewhere,
                ],
                status: .unreachable)
        case .timedOut:
            CLIError(
                "\(self.name) did not answer in time",
                hints: ["It may be starting or stuck.  journalctl -u nodemeshd"], status: .unreachable)
        case .unknownHost, .tls, .unreadableCA:
            CLIError("cannot reach \(self.name)", hints: [running, elsewhere], status: .unreachable)
        case .failed(let text):
            CLIError("cannot reach \(self.name): \(text)", hints: [running, elsewhere], status: .unreachable)
        }
    }

    private func controlExplanation(of failure: TransportFailure, url: ControlPlaneURL, caFile: String?) -> CLIError {
        let elsewhere = "Is it another address?  --control-plane URL or NODEMESH_CONTROL_PLANE"
        let running = "Is it running there?  systemctl status nodemesh-control"
        let message = "cannot reach \(self.name)"
        return switch failure {
        case .refused:
            CLIError("\(message): connection refused", hints: [running, elsewhere], status: .unreachable)
        case .timedOut:
            CLIError("\(message): no answer in time", hints: [running, elsewhere], status: .unreachable)
        case .unknownHost:
            CLIError("\(message): the name \(url.host) has no address", hints: [elsewhere], status: .unreachable)
        case .tls(let text):
            CLIError(
                "\(message): TLS failed: \(text)",
                hints: [
                    caFile.map { "Is \($0) the root of this control plane?" }
                        ?? "The control plane has a CA of its own: fetch its root over a path you trust and pass --ca-file.",
                    "On its host:  curl http://127.0.0.1:15080/v1/ca > nodemesh-ca.pem",
                ], status: .unreachable)
        case .unreadableCA(let file):
            CLIError("cannot read PEM certificates from \(file)", hints: ["--ca-file wants the control plane's root."])
        case .notPermitted:
            CLIError("\(message): a local firewall refused it", hints: [elsewhere], status: .unreachable)
        case .noSuchSocket:
            CLIError(message, hints: [running, elsewhere], status: .unreachable)
        case .failed(let text):
            CLIError(
                "\(message): \(text)",
                hints: [
                    url.isTLS ? running : "Does it serve TLS there?  use https:// and --ca-file", elsewhere,
                ], status: .unreachable)
        }
    }

    /// What the operator should read when the answer was not a success.
    func explanation(
        of response: APIResponse, to request: APIRequest, place: (ResourceProblem) -> String
    ) -> CLIError {
        let answer = try? AdminJSON.decoder.decode(ErrorResponse.self, from: response.body)
        switch response.status {
        case 401, 403:
            return self.unauthorized(answer)
        case 404:
            if let answer {
                return CLIError(
                    answer.error, details: answer.problems.map { $0.text(at: place($0)) }, status: .notFound)
            }
            return CLIError(
                "\(self.name) does not know \(request.method.rawValue) \(request.target)",
                hints: ["The versions may differ: nodemeshctl version"])
        default:
            if let answer { return CLIError(answer.error, details: answer.problems.map { $0.text(at: place($0)) }) }
            let log =
                switch self {
                case .node: "journalctl -u nodemeshd"
                case .control: "journalctl -u nodemesh-control"
                }
            return CLIError(
                "\(self.name) answered \(request.method.rawValue) \(request.target) with HTTP \(response.status)",
                hints: ["Its log may say why.  \(log)"])
        }
    }

    private func unauthorized(_ answer: ErrorResponse?) -> CLIError {
        guard case .control(_, let token, _) = self else {
            return CLIError(answer?.error ?? "\(self.name) refused the request")
        }
        let elsewhere = "Another token:  --token-file PATH or NODEMESH_TOKEN_FILE"
        return switch token {
        case .missing(let file, let why):
            CLIError(
                "\(self.name) wants the admin token, and \(file) could not be read: \(why)",
                hints: [
                    why == "permission denied"
                        ? "The file is for root: use sudo." : "Copy it from the control plane's host.",
                    elsewhere,
                ])
        case .text(_, let file):
            CLIError(
                "\(self.name) refused the token in \(file)",
                hints: [
                    "Is it this control plane's? Compare it with \(ControlPlaneOptions.defaultTokenFile) on its host.",
                    elsewhere,
                ])
        }
    }
}

extension ResourceProblem {
    /// Where it is in what was sent.
    var place: String { self.line.map { "line \($0)" } ?? "document \(self.document)" }

    /// `PLACE: kind namespace/name path: reason`.
    func text(at place: String) -> String {
        var subject: [String] = []
        if let kind = self.kind { subject.append(kind) }
        if let name = self.name { subject.append(self.namespace.map { "\($0)/\(name)" } ?? name) }
        if !self.path.isEmpty { subject.append(self.path) }
        return "\(place): " + (subject.isEmpty ? "" : subject.joined(separator: " ") + ": ") + self.reason
    }
}
