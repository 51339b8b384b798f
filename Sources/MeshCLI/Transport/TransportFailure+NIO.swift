// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import Glibc
import NIOCore
import NIOPosix
import NIOSSL

extension TransportFailure {
    /// Sorts what the HTTP client and its layers throw by what an operator can do about it.
    init(_ error: any Error) {
        switch error {
        case let failure as TransportFailure:
            self = failure
        case let error as IOError:
            self.init(code: error.errnoCode)
        case let error as NIOConnectionError:
            if let first = error.connectionErrors.first {
                self = .init(first.error)
            } else {
                self = .unknownHost
            }
        case let error as HTTPClientError where Self.timeouts.contains(error):
            self = .timedOut
        case let error as HTTPClientError where error == .remoteConnectionClosed:
            self = .failed("the connection was closed before the answer")
        case is NIOSSLError, is NIOSSLExtraError, is BoringSSLError:
            self = .tls(Self.reason(inTLSError: "\(error)"))
        case is ChannelError:
            self = .timedOut
        default:
            self = .failed("\(error)")
        }
    }

    private static let timeouts: [HTTPClientError] = [
        .connectTimeout, .deadlineExceeded, .readTimeout, .writeTimeout, .tlsHandshakeTimeout,
        .getConnectionFromPoolTimeout,
    ]

    /// The library's errors carry its own source positions around the one word that matters.
    private static func reason(inTLSError text: String) -> String {
        guard let start = text.firstRange(of: "OPENSSL_internal:")?.upperBound else { return text }
        let word = text[start...].prefix(while: { $0 != " " && $0 != "]" })
        return switch word {
        case "CERTIFICATE_VERIFY_FAILED": "its certificate is not from a trusted root"
        case "WRONG_VERSION_NUMBER", "HTTP_REQUEST": "it does not speak TLS there"
        default: word.lowercased().replacing("_", with: " ")
        }
    }

    private init(code: CInt) {
        switch code {
        case ENOENT, ENOTSOCK: self = .noSuchSocket
        case EACCES, EPERM: self = .notPermitted
        case ECONNREFUSED: self = .refused
        case ETIMEDOUT: self = .timedOut
        default: self = .failed(String(cString: strerror(code)))
        }
    }
}
