// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshCLI
import Synchronization

/// Answers from a table and remembers what it was asked.
final class StubTransport: APITransport {
    enum Answer: Sendable {
        case response(Int, String)
        case failure(TransportFailure)
    }

    private let answers: [String: Answer]
    private let fallback: Answer
    private let requests = Mutex<[(request: APIRequest, endpoint: APIEndpoint)]>([])

    /// - Parameter answers: by `METHOD TARGET`, with `node ` or `control ` before it where the endpoint matters.
    init(_ answers: [String: Answer], otherwise fallback: Answer = .response(404, "")) {
        self.answers = answers
        self.fallback = fallback
    }

    var sent: [APIRequest] { self.requests.withLock { $0.map(\.request) } }
    var endpoints: [APIEndpoint] { self.requests.withLock { $0.map(\.endpoint) } }

    func send(_ request: APIRequest, to endpoint: APIEndpoint) async throws(TransportFailure) -> APIResponse {
        self.requests.withLock { $0.append((request, endpoint)) }
        let key = "\(request.method.rawValue) \(request.target)"
        let side = if case .node = endpoint { "node" } else { "control" }
        switch self.answers["\(side) \(key)"] ?? self.answers[key] ?? self.fallback {
        case .response(let status, let body): return APIResponse(status: status, body: Data(body.utf8))
        case .failure(let failure): throw failure
        }
    }

    func stream(
        _ request: APIRequest, to endpoint: APIEndpoint, onLine: @Sendable (Data) async throws -> Void
    ) async throws -> APIResponse? {
        let response = try await self.send(request, to: endpoint)
        guard (200..<300).contains(response.status) else { return response }
        for line in response.body.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            try await onLine(Data(line))
        }
        return nil
    }
}
