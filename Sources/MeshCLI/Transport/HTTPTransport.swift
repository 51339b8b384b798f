// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import Foundation
import MeshModel
import NIOCore
import NIOHTTP1
import NIOSSL

/// HTTP/1.1 over the node's Unix socket or TCP, one connection per request.
package struct HTTPTransport: APITransport {
    /// Larger answers are refused: a mesh of a hundred thousand workloads fits.
    private static let bodyLimit = 256 << 20

    package init() {}

    package func send(_ request: APIRequest, to endpoint: APIEndpoint) async throws(TransportFailure) -> APIResponse {
        var configuration = HTTPClient.Configuration(
            redirectConfiguration: .disallow, timeout: .init(connect: .seconds(5)))
        // An operator would rather read why than wait.
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.httpVersion = .http1Only
        if case .control(_, _, let file?) = endpoint {
            var tls = TLSConfiguration.makeClientConfiguration()
            do {
                tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(file))
            } catch {
                throw .unreadableCA(file)
            }
            configuration.tlsConfiguration = tls
        }
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        let result: Result<APIResponse, TransportFailure>
        do {
            result = .success(try await Self.exchange(request, with: endpoint, over: client))
        } catch {
            result = .failure(TransportFailure(error))
        }
        try? await client.shutdown()
        return try result.get()
    }

    private static func exchange(
        _ request: APIRequest, with endpoint: APIEndpoint, over client: HTTPClient
    ) async throws -> APIResponse {
        var message: HTTPClientRequest
        switch endpoint {
        case .node(let socket):
            message = HTTPClientRequest(url: "http+unix://\(APIRequest.encode(socket))\(request.target)")
        case .control(let url, let token, _):
            message = HTTPClientRequest(url: "\(url)\(request.target)")
            if case .text(let secret, _) = token {
                message.headers.add(name: "authorization", value: "Bearer \(secret)")
            }
        }
        message.method = .init(rawValue: request.method.rawValue)
        message.headers.add(name: "accept", value: "application/json")
        message.headers.add(name: "user-agent", value: "nodemeshctl/\(Version.text)")
        if let type = request.contentType { message.headers.add(name: "content-type", value: type) }
        if let body = request.body { message.body = .bytes(ByteBuffer(bytes: body)) }
        let response = try await client.execute(message, timeout: .seconds(30))
        let body = try await response.body.collect(upTo: Self.bodyLimit)
        return APIResponse(status: Int(response.status.code), body: Data(body.readableBytesView))
    }
}
