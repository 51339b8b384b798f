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
        let client = try Self.client(for: endpoint)
        let result: Result<APIResponse, TransportFailure>
        do {
            result = .success(try await Self.exchange(request, with: endpoint, over: client))
        } catch {
            result = .failure(TransportFailure(error))
        }
        try? await client.shutdown()
        return try result.get()
    }

    /// A longer line ends the answer.
    private static let lineLimit = 1 << 20

    package func stream(
        _ request: APIRequest, to endpoint: APIEndpoint, onLine: @Sendable (Data) async throws -> Void
    ) async throws -> APIResponse? {
        let client = try Self.client(for: endpoint)
        let result: Result<APIResponse?, any Error>
        do {
            result = .success(try await Self.lines(of: request, with: endpoint, over: client, onLine: onLine))
        } catch let error as CLIError {
            result = .failure(error)
        } catch {
            result = .failure(TransportFailure(error))
        }
        try? await client.shutdown()
        return try result.get()
    }

    private static func lines(
        of request: APIRequest, with endpoint: APIEndpoint, over client: HTTPClient,
        onLine: @Sendable (Data) async throws -> Void
    ) async throws -> APIResponse? {
        let response = try await client.execute(Self.message(request, endpoint), deadline: .distantFuture)
        guard (200..<300).contains(Int(response.status.code)) else {
            let body = try await response.body.collect(upTo: Self.bodyLimit)
            return APIResponse(status: Int(response.status.code), body: Data(body.readableBytesView))
        }
        var rest = Data()
        for try await part in response.body {
            rest.append(contentsOf: part.readableBytesView)
            while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
                try await onLine(Data(rest[rest.startIndex..<end]))
                rest = Data(rest[rest.index(after: end)...])
            }
            guard rest.count <= Self.lineLimit else { throw TransportFailure.failed("a line is longer than 1 MiB") }
        }
        return nil
    }

    private static func client(for endpoint: APIEndpoint) throws(TransportFailure) -> HTTPClient {
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
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    private static func exchange(
        _ request: APIRequest, with endpoint: APIEndpoint, over client: HTTPClient
    ) async throws -> APIResponse {
        let response = try await client.execute(Self.message(request, endpoint), timeout: .seconds(30))
        let body = try await response.body.collect(upTo: Self.bodyLimit)
        return APIResponse(status: Int(response.status.code), body: Data(body.readableBytesView))
    }

    private static func message(_ request: APIRequest, _ endpoint: APIEndpoint) -> HTTPClientRequest {
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
        return message
    }
}
