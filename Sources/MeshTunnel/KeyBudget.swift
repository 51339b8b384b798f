// SPDX-License-Identifier: Apache-2.0

/// How much one key has sealed, where it cannot be replaced: counted in cipher blocks, which is what wears a key of
/// AES-GCM out.
package struct KeyBudget {
    /// 256 GiB of full records: a little below the 2^24.5 full records of RFC 8446 §5.5. Short records count for what
    /// they are, so that many small messages do not end a tunnel early.
    static let blocks: UInt64 = 1 << 34
    /// Blocks that a record takes besides its content: a part of one, the tag and the lengths.
    private static let blocksPerRecord: UInt64 = 3

    private var used: UInt64 = 0

    package init() {}

    package init(from reader: inout StateReader) throws(StateError) { self.used = try reader.integer() }

    package func write(to writer: inout StateWriter) { writer.put(self.used) }

    /// - Parameter records: at least as many as were made.
    @inline(__always)
    package mutating func charge(content: Int, records: Int) {
        self.used &+= UInt64(content) / 16 &+ UInt64(records) &* Self.blocksPerRecord
    }

    /// ChaCha20-Poly1305 has no limit that a connection could reach.
    @inline(__always)
    package func isSpent(for suite: CipherSuite) -> Bool {
        self.used >= Self.blocks && suite != .chaCha20Poly1305
    }

    /// Why a tunnel ends then.
    package static let spent = TunnelError(
        .keyExhausted,
        "one key has sealed as much as is safe (256 GiB) and kernel TLS cannot replace it; engine: user has no such limit"
    )
}
