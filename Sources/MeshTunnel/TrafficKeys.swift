// SPDX-License-Identifier: Apache-2.0
import COpenSSL

/// What protects one direction of a session. Secret: never logged, wiped by its owner.
struct TrafficKeys {
    let suite: CipherSuite
    /// The traffic secret; the suite's hash length counts.
    private var secret: InlineArray<48, UInt8>
    private(set) var iv = InlineArray<12, UInt8>(repeating: 0)
    /// Of the next record.
    var sequence: UInt64 = 0
    /// Where an ``AEADContextPool`` keeps the expanded key, and under which number.
    var poolSlot: Int32 = 0
    var poolKey: UInt64 = 0

    /// nil when the secret does not have the suite's length.
    init?(suite: CipherSuite, secret: UnsafeRawBufferPointer) {
        guard secret.count == suite.secretLength else { return nil }
        self.suite = suite
        self.secret = InlineArray(repeating: 0)
        for index in 0..<secret.count { self.secret[index] = secret[index] }
        self.derive()
    }

    /// The next generation of keys (RFC 8446 §7.2).
    mutating func update() {
        var next = InlineArray<48, UInt8>(repeating: 0)
        self.expand("traffic upd", count: self.suite.secretLength) { next[$0] = $1 }
        self.secret = next
        self.derive()
        self.sequence = 0
        self.poolKey = 0
        wipe(&next)
    }

    /// The nonce of a record: the IV with the sequence number in its last eight bytes (RFC 8446 §5.3).
    @inline(__always)
    func nonce(_ sequence: UInt64) -> InlineArray<12, UInt8> {
        var nonce = self.iv
        for index in 0..<8 {
            nonce[4 + index] ^= UInt8(truncatingIfNeeded: sequence >> UInt64(56 - 8 * index))
        }
        return nonce
    }

    /// The key; the suite's key length counts. Made when it is asked for, as an idle session needs none; to be wiped by
    /// the caller.
    var key: InlineArray<32, UInt8> {
        var key = InlineArray<32, UInt8>(repeating: 0)
        self.expand("key", count: self.suite.keyLength) { key[$0] = $1 }
        return key
    }

    // MARK: - Handing over

    func write(to writer: inout StateWriter) {
        var secret = self.secret
        withUnsafeBytes(of: &secret) {
            writer.put(raw: UnsafeRawBufferPointer(rebasing: $0[..<self.suite.secretLength]))
        }
        wipe(&secret)
        writer.put(self.sequence)
    }

    init(suite: CipherSuite, from reader: inout StateReader) throws(StateError) {
        guard let keys = TrafficKeys(suite: suite, secret: try reader.raw(suite.secretLength)) else {
            throw StateError("a traffic secret of the wrong length")
        }
        self = keys
        self.sequence = try reader.count()
    }

    mutating func erase() {
        wipe(&self.secret)
        wipe(&self.iv)
    }

    private mutating func derive() {
        var iv = InlineArray<12, UInt8>(repeating: 0)
        self.expand("iv", count: 12) { iv[$0] = $1 }
        self.iv = iv
        wipe(&iv)
    }

    /// HKDF-Expand-Label with an empty context (RFC 8446 §7.1). No output here is longer than the hash, so the first
    /// block of HKDF-Expand, one HMAC, is all of it.
    private func expand(_ label: StaticString, count: Int, _ put: (Int, UInt8) -> Void) {
        var info: [UInt8] = [UInt8(count >> 8), UInt8(count & 255), UInt8(6 + label.utf8CodeUnitCount)]
        info += Array("tls13 ".utf8)
        label.withUTF8Buffer { info.append(contentsOf: $0) }
        info += [0, 1]
        var block = InlineArray<64, UInt8>(repeating: 0)
        var length: UInt32 = 0
        var secret = self.secret
        withUnsafeMutableBytes(of: &secret) { secret in
            withUnsafeMutableBytes(of: &block) { block in
                _ = HMAC(
                    self.suite.digest, secret.baseAddress, CInt(self.suite.secretLength), info, info.count,
                    block.baseAddress?.assumingMemoryBound(to: UInt8.self), &length)
            }
        }
        for index in 0..<count { put(index, block[index]) }
        wipe(&block)
        wipe(&secret)
    }
}

/// Overwrites a value that holds secrets in a way that the compiler does not leave out.
func wipe<T: BitwiseCopyable>(_ value: inout T) {
    withUnsafeMutableBytes(of: &value) { OPENSSL_cleanse($0.baseAddress, $0.count) }
}
