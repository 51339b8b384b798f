// SPDX-License-Identifier: Apache-2.0
import MeshTunnel

/// What one data plane hands to the next, possibly in another process: bytes that say what each descriptor is, and the
/// descriptors. The bytes hold keys: they never reach a log or a disk, and are wiped with this value, which also closes
/// the descriptors that nobody has taken.
package struct ProxyState: ~Copyable, Sendable {
    let bytes: SecretBytes
    var owned: OwnedDescriptors
    /// Of a data plane that was frozen; empty for a state that was received.
    package let summary: HandOverSummary

    /// What another process has sent; nothing is believed of it before it is read.
    ///
    /// - Parameters:
    ///   - bytes: copied.
    ///   - descriptors: owned by the state from now on.
    package init(bytes: UnsafeRawBufferPointer, descriptors: [CInt]) {
        self.init(SecretBytes(bytes), OwnedDescriptors(descriptors), summary: HandOverSummary())
    }

    init(_ bytes: consuming SecretBytes, _ owned: consuming OwnedDescriptors, summary: HandOverSummary) {
        self.bytes = bytes
        self.owned = owned
        self.summary = summary
    }

    /// Borrowed: a process that sends them elsewhere sends copies. Their order is what the bytes refer to.
    package var descriptors: [CInt] { self.owned.all }

    package var byteCount: Int { self.bytes.count }

    /// The bytes, in place.
    package func withUnsafeBytes<R: ~Copyable, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R
    {
        try self.bytes.withUnsafeBytes(body)
    }
}
