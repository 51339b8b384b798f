// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import MeshTunnel

/// What one data plane hands to the next, possibly in another process: bytes that say what each descriptor is, and the
/// descriptors. The bytes hold keys: they never reach a log or a disk, and are wiped with this value, which also closes
/// the descriptors that nobody has taken.
package struct ProxyState: ~Copyable, Sendable {
    private let bytes: SecretBytes
    /// Borrowed: a process that sends them elsewhere sends copies. Their order is what the bytes refer to.
    package private(set) var descriptors: [CInt]
    /// Of a data plane that was frozen; empty for a state that was received.
    package let summary: HandOverSummary

    /// What another process has sent; nothing is believed of it before it is read.
    ///
    /// - Parameters:
    ///   - bytes: copied.
    ///   - descriptors: owned by the state from now on.
    package init(bytes: UnsafeRawBufferPointer, descriptors: [CInt]) {
        self.init(SecretBytes(bytes), descriptors: descriptors, summary: HandOverSummary())
    }

    init(_ bytes: consuming SecretBytes, descriptors: [CInt], summary: HandOverSummary) {
        self.bytes = bytes
        self.descriptors = descriptors
        self.summary = summary
    }

    deinit { for fd in self.descriptors where fd >= 0 { Linux.close(fd) } }

    package var byteCount: Int { self.bytes.count }

    /// The bytes, in place.
    package func withUnsafeBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        try self.bytes.withUnsafeBytes(body)
    }

    /// Gives a descriptor away, once.
    mutating func take(_ index: UInt32) throws(StateError) -> CInt {
        guard Int(index) < self.descriptors.count, self.descriptors[Int(index)] >= 0 else {
            throw StateError("descriptor \(index) of \(self.descriptors.count) is missing or used twice")
        }
        defer { self.descriptors[Int(index)] = -1 }
        return self.descriptors[Int(index)]
    }
}
