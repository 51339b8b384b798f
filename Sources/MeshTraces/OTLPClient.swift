// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import Foundation
import MeshAPI
import MeshModel
import NIOCore
import NIOHTTP1
import NIOSSL
import SwiftProtobuf

/// What came of sending a batch.
enum OTLPAnswer: Sendable, Equatable {
    /// The collector has it, but for that many spans.
    case taken(refused: Int)
    /// It may be sent again, after so many seconds if the collector said.
    case tryAgain(after: Double?, String)
    /// It must not be sent again.
    case refused(String)
}

/// Posts batches to a collector.
protocol OTLPClient: Sendable {
    func send(_ body: [UInt8]) async -> OTLPAnswer
    func close() async
}

/// OTLP over HTTP with binary protobuf.
struct HTTPOTLPClient: OTLPClient {
    private let client: HTTPClient
    private let url: String
    private let headers: HTTPHeaders

    private static let timeout = TimeAmount.seconds(10)
    private static let answerLimit = 1 << 20

    init(_ settings: TraceSettings) throws(TraceExportError) {
        self.url = settings.endpoint.tracesURL
        var headers: HTTPHeaders = ["content-type": "application/x-protobuf", "user-agent": "nodemesh"]
        for header in settings.headers { headers.replaceOrAdd(name: header.name, value: header.value) }
        self.headers = headers
        var configuration = HTTPClient.Configuration(
            redirectConfiguration: .disallow, timeout: .init(connect: .seconds(5), read: Self.timeout))
        configuration.connectionPool.retryConnectionEstablishment = false
        if settings.endpoint.isSecure { configuration.tlsConfiguration = try Self.tls(settings) }
        self.client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    private static func tls(_ settings: TraceSettings) throws(TraceExportError) -> TLSConfiguration {
        var tls = TLSConfiguration.makeClientConfiguration()
        if let file = settings.authoritiesFile {
            tls.trustRoots = .certificates(try Self.read("otlpCaFile", file) { try NIOSSLCertificate.fromPEMFile($0) })
        }
        if let file = settings.certificateFile, let key = settings.keyFile {
            tls.certificateChain = try Self.read("otlpCertFile", file) { try NIOSSLCertificate.fromPEMFile($0) }.map {
                .certificate($0)
            }
            tls.privateKey = .privateKey(
                try Self.read("otlpKeyFile", key) { try NIOSSLPrivateKey(file: $0, format: .pem) })
        }
        return tls
    }

    private static func read<T>(_ key: String, _ file: String, _ body: (String) throws -> T) throws(TraceExportError)
        -> T
    {
        do {
            return try body(file)
        } catch {
            throw TraceExportError("\(key): \(file) cannot be read as PEM: \(error)")
        }
    }

    func send(_ body: [UInt8]) async -> OTLPAnswer {
        var request = HTTPClientRequest(url: self.url)
        request.method = .POST
        request.headers = self.headers
        request.body = .bytes(ByteBuffer(bytes: body))
        do {
            let response = try await self.client.execute(request, timeout: Self.timeout)
            let answer = try await response.body.collect(upTo: Self.answerLimit)
            return Self.judge(
                Int(response.status.code), retryAfter: response.headers.first(name: "retry-after"),
                body: Array(answer.readableBytesView))
        } catch {
            return .tryAgain(after: nil, "\(error)")
        }
    }

    /// The rules of the OTLP specification, "OTLP/HTTP response".
    static func judge(_ status: Int, retryAfter: String?, body: [UInt8]) -> OTLPAnswer {
        switch status {
        case 200..<300:
            let answer = try? Nodemesh_Otlp_V1_ExportTraceServiceResponse(serializedBytes: body)
            return .taken(refused: Int(clamping: answer?.partialSuccess.rejectedSpans ?? 0))
        case 429, 502, 503, 504:
            return .tryAgain(after: retryAfter.flatMap(Double.init).map { min(max(0, $0), 300) }, "status \(status)")
        default:
            return .refused("status \(status)")
        }
    }

    func close() async { try? await self.client.shutdown() }
}

/// Why traces cannot be sent at all.
package struct TraceExportError: Error, CustomStringConvertible {
    package let description: String
    init(_ description: String) { self.description = description }
}
