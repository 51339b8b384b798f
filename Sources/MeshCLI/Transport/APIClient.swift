// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import MeshModel

/// Asks one API and turns every failure into what the operator should read.
package struct APIClient: Sendable {
    package let endpoint: APIEndpoint
    package let transport: any APITransport

    package init(endpoint: APIEndpoint, transport: any APITransport) {
        self.endpoint = endpoint
        self.transport = transport
    }

    /// - Parameter place: where in the operator's files a problem is.
    /// - Returns: the body of a 2xx answer.
    package func send(
        _ request: APIRequest, place: (ResourceProblem) -> String = { $0.place }
    ) async throws(CLIError) -> Data {
        let response: APIResponse
        do {
            response = try await self.transport.send(request, to: self.endpoint)
        } catch {
            throw self.endpoint.explanation(of: error)
        }
        if (200..<300).contains(response.status) { return response.body }
        throw self.endpoint.explanation(of: response, to: request, place: place)
    }

    /// Hands out the lines of a 2xx answer as they come.
    package func stream(
        _ request: APIRequest, onLine: @escaping @Sendable (Data) throws(CLIError) -> Void
    ) async throws(CLIError) {
        let response: APIResponse?
        do {
            response = try await self.transport.stream(request, to: self.endpoint) { try onLine($0) }
        } catch let error as CLIError {
            throw error
        } catch let error as TransportFailure {
            throw self.endpoint.explanation(of: error)
        } catch {
            throw CLIError("\(self.endpoint.name) ended the answer: \(error)")
        }
        guard let response else { return }
        throw self.endpoint.explanation(of: response, to: request, place: { $0.place })
    }

    package func get(_ target: String) async throws(CLIError) -> Data { try await self.send(APIRequest(.get, target)) }

    /// Decodes the body of an answer.
    package func decode<Value: Decodable>(_ type: Value.Type, from body: Data) throws(CLIError) -> Value {
        do {
            return try AdminJSON.decoder.decode(type, from: body)
        } catch {
            throw CLIError(
                "\(self.endpoint.name) answered something this nodemeshctl (\(Version.text)) does not understand: "
                    + Self.text(of: error),
                hints: ["The versions may differ: nodemeshctl version", "See the raw answer: -o json"])
        }
    }

    /// Encodes the body of a request.
    package func encode(_ value: some Encodable) throws(CLIError) -> Data {
        do {
            return try AdminJSON.encoder.encode(value)
        } catch {
            throw CLIError("cannot encode the request: \(Self.text(of: error))")
        }
    }

    private static func text(of error: any Error) -> String {
        let path = { (keys: [any CodingKey]) in keys.map { $0.intValue.map(String.init) ?? $0.stringValue } }
        return switch error as? DecodingError {
        case .keyNotFound(let key, let context):
            "no field \((path(context.codingPath) + [key.stringValue]).joined(separator: "."))"
        case .typeMismatch(_, let context), .valueNotFound(_, let context):
            "wrong type at \(path(context.codingPath).joined(separator: "."))"
        case .dataCorrupted(let context): context.debugDescription
        default: "\(error)"
        }
    }
}
