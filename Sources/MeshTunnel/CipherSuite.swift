// SPDX-License-Identifier: Apache-2.0
import COpenSSL

/// The cipher suites of TLS 1.3 that tunnels use; raw values as on the wire (RFC 8446 §B.4).
package enum CipherSuite: UInt16, Sendable, Hashable, CaseIterable {
    case aes128GCM = 0x1301
    case aes256GCM = 0x1302
    case chaCha20Poly1305 = 0x1303

    var keyLength: Int { self == .aes128GCM ? 16 : 32 }

    /// Length of the suite's hash, and so of its traffic secrets.
    var secretLength: Int { self == .aes256GCM ? 48 : 32 }

    var digest: OpaquePointer? { self == .aes256GCM ? EVP_sha384() : EVP_sha256() }

    /// Records after which the sending key is replaced: below the 2^24.5 of RFC 8446 §5.5 for AES-GCM. ChaCha20 has no
    /// such limit; one figure for all is simpler and costs nothing.
    static let recordsPerKey: UInt64 = 1 << 24
}
