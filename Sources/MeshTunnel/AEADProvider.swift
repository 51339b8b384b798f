// SPDX-License-Identifier: Apache-2.0

/// An implementation of the record ciphers. Functions rather than a protocol, so that a loop calls them without
/// reference counting.
package struct AEADProvider: Sendable {
    /// As in configuration and logs.
    package let name: String

    /// An expanded key; nil when out of memory.
    let create: @convention(c) (_ suite: UInt16, _ key: UnsafePointer<UInt8>) -> UnsafeMutableRawPointer?
    /// Encrypts `count` bytes in place and writes the 16-byte tag behind them. `header` is 5 bytes, `nonce` 12.
    let seal:
        @convention(c) (
            _ context: UnsafeMutableRawPointer, _ nonce: UnsafePointer<UInt8>, _ header: UnsafePointer<UInt8>,
            _ data: UnsafeMutablePointer<UInt8>, _ count: Int
        ) -> Bool
    /// Decrypts `count` bytes in place, with the tag behind them; false when they are not authentic.
    let open:
        @convention(c) (
            _ context: UnsafeMutableRawPointer, _ nonce: UnsafePointer<UInt8>, _ header: UnsafePointer<UInt8>,
            _ data: UnsafeMutablePointer<UInt8>, _ count: Int
        ) -> Bool
    /// Wipes and frees.
    let destroy: @convention(c) (_ context: UnsafeMutableRawPointer) -> Void
}
