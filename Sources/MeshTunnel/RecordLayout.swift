// SPDX-License-Identifier: Apache-2.0

/// Where the parts of a TLS 1.3 record lie (RFC 8446 §5.2): header, content, one byte of type, tag.
package enum RecordLayout {
    package static let header = 5
    /// Most content in one record.
    package static let content = 16384
    /// Type and tag behind the content.
    package static let trailer = 17
    package static let overhead = header + trailer
    /// A full record that we send. A batch is sealed in place at this stride.
    package static let stride = header + content + trailer
    /// The longest record that a peer may send, header included.
    package static let longest = header + content + 256

    package static let applicationData: UInt8 = 23
    static let handshake: UInt8 = 22
    package static let alert: UInt8 = 21
}
