// SPDX-License-Identifier: Apache-2.0
import MeshTunnel

/// The form of the bytes of a ``ProxyState``: a magic number, the version, and records. A reader skips records of a kind
/// and trailing fields of records that it does not know, so a version changes only when what is known changes its
/// meaning.
package enum HandOverFormat {
    /// The versions that this program reads and writes.
    package static let versions: ClosedRange<Int> = 1...1

    static let magic: UInt64 = 0x0a31_6574_6174_736e

    /// The kinds of records.
    enum Kind {
        static let counters: UInt8 = 1
        static let tunnelListener: UInt8 = 2
        static let namespace: UInt8 = 3
        static let connection: UInt8 = 4
        static let endpoint: UInt8 = 5
        /// For the case that the process dies: a loop's pipes, and a relay behind its balance.
        static let keptPipes: UInt8 = 6
        static let keptRelay: UInt8 = 7
        /// The last one.
        static let end: UInt8 = 255
    }

    /// The version of a state's bytes; nil: they are no state.
    package static func version(of bytes: UnsafeRawBufferPointer) -> Int? {
        var reader = StateReader(bytes)
        guard let magic = try? reader.integer(UInt64.self), magic == Self.magic,
            let version = try? reader.integer(UInt16.self)
        else { return nil }
        return Int(version)
    }
}
