// SPDX-License-Identifier: Apache-2.0
import COpenSSL
import Glibc

/// The application traffic secrets of a handshake in progress.
///
/// OpenSSL hands them out only through its key log. This file is the only place that sees that log: the secrets go from
/// here into ``TrafficKeys``, are wiped, and never reach a log or a file.
struct TrafficSecrets {
    private struct Secret {
        var bytes = InlineArray<48, UInt8>(repeating: 0)
        var count = 0
    }

    private var client = Secret()
    private var server = Secret()

    /// Takes a line of the key log if it is one of ours; wipes nothing but what it copied itself.
    fileprivate mutating func take(_ line: UnsafePointer<CChar>) {
        let length = strnlen(line, 512)
        let text = UnsafeRawBufferPointer(start: line, count: length)
        let names: [(StaticString, WritableKeyPath<Self, Secret>)] = [
            ("CLIENT_TRAFFIC_SECRET_0 ", \.client), ("SERVER_TRAFFIC_SECRET_0 ", \.server),
        ]
        for (name, path) in names {
            let size = name.utf8CodeUnitCount
            guard length > size, memcmp(name.utf8Start, line, size) == 0,
                let space = text.lastIndex(of: 32)
            else { continue }
            var secret = Secret()
            var index = space + 1
            while index + 1 < length, secret.count < 48 {
                guard let high = Self.digit(text[index]), let low = Self.digit(text[index + 1]) else { return }
                secret.bytes[secret.count] = high << 4 | low
                secret.count += 1
                index += 2
            }
            self[keyPath: path] = secret
            wipe(&secret)
        }
    }

    /// The keys of both directions, and the end of the secrets here; nil unless OpenSSL gave both.
    mutating func takeKeys(suite: CipherSuite, isClient: Bool) -> (sending: TrafficKeys, receiving: TrafficKeys)? {
        defer {
            wipe(&self.client)
            wipe(&self.server)
        }
        guard let client = Self.keys(suite, &self.client), let server = Self.keys(suite, &self.server) else {
            return nil
        }
        return isClient ? (client, server) : (server, client)
    }

    mutating func erase() {
        wipe(&self.client)
        wipe(&self.server)
    }

    private static func keys(_ suite: CipherSuite, _ secret: inout Secret) -> TrafficKeys? {
        let count = secret.count
        return withUnsafeBytes(of: &secret.bytes) {
            TrafficKeys(suite: suite, secret: UnsafeRawBufferPointer(rebasing: $0[..<count]))
        }
    }

    private static func digit(_ character: UInt8) -> UInt8? {
        switch character {
        case 48...57: character - 48
        case 97...102: character - 87
        case 65...70: character - 55
        default: nil
        }
    }
}

/// OpenSSL's key log callback.
func receivedSecret(_ ssl: OpaquePointer?, _ line: UnsafePointer<CChar>?) {
    guard let ssl, let line, let handshake = TunnelHandshake.owner(of: ssl) else { return }
    // By now it is known whether a session is resumed. Who resumed it has its ticket and may use it again: a new one
    // would prolong what ends with the certificate.
    if SSL_is_server(ssl) == 1, SSL_session_reused(ssl) == 1 { SSL_set_num_tickets(ssl, 0) }
    handshake.secrets.take(line)
}
