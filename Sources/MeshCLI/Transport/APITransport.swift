// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Carries one request to one of the two HTTP APIs.
package protocol APITransport: Sendable {
    func send(_ request: APIRequest, to endpoint: APIEndpoint) async throws(TransportFailure) -> APIResponse
    /// Hands out an answer's body line by line as it comes, for as long as it does. An answer that is not 2xx is
    /// returned whole instead.
    func stream(
        _ request: APIRequest, to endpoint: APIEndpoint, onLine: @Sendable (Data) async throws -> Void
    ) async throws -> APIResponse?
}

/// Who is asked.
package enum APIEndpoint: Sendable, Equatable {
    /// nodemeshd on this machine.
    case node(socket: String)
    case control(url: ControlPlaneURL, token: AdminToken, caFile: String?)
}

/// The control plane's bearer token, or why there is none.
package enum AdminToken: Sendable, Equatable {
    case text(String, file: String)
    case missing(file: String, why: String)
}

package struct APIRequest: Sendable, Equatable {
    package enum Method: String, Sendable { case get = "GET", post = "POST", delete = "DELETE" }

    package var method: Method
    /// Path and query, percent-encoded.
    package var target: String
    package var body: Data?
    package var contentType: String?

    package init(_ method: Method, _ target: String, body: Data? = nil, contentType: String? = nil) {
        self.method = method
        self.target = target
        self.body = body
        self.contentType = contentType
    }

    /// One path component or query value, with everything but unreserved characters encoded (RFC 3986 §2.3).
    package static func encode(_ text: String) -> String {
        text.utf8.map { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                String(UnicodeScalar(byte))
            default:
                "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }.joined()
    }
}

package struct APIResponse: Sendable, Equatable {
    /// HTTP status code.
    package var status: Int
    package var body: Data

    package init(status: Int, body: Data) {
        self.status = status
        self.body = body
    }
}

/// Why no answer came.
package enum TransportFailure: Error, Sendable, Equatable {
    case noSuchSocket
    case notPermitted
    case refused
    case timedOut
    case unknownHost
    /// The other side's certificate did not verify, or it does not speak TLS.
    case tls(String)
    case unreadableCA(String)
    case failed(String)
}
