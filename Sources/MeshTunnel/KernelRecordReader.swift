// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux

/// Judges what kernel TLS passes up beside data: the records of other types, and the errors it has for bad ones.
///
/// As strict as ``TunnelSession/open(_:count:into:capacity:pool:)``, with one difference: a KeyUpdate ends the tunnel.
package struct KernelRecordReader {
    package enum Outcome: Equatable {
        /// Go on reading.
        case ignored
        /// The peer ended its direction in order.
        case ended
    }

    private var postHandshake = PostHandshakeReader()
    /// Records in a row that carried no data.
    private var barren = 0

    package init() {}

    package init(from reader: inout StateReader) throws(StateError) {
        self.postHandshake = try PostHandshakeReader(from: &reader)
        self.barren = Int(try reader.integer(UInt32.self))
    }

    package func write(to writer: inout StateWriter) {
        self.postHandshake.write(to: &writer)
        writer.put(UInt32(clamping: self.barren))
    }

    /// Content of application data arrived.
    @inline(__always)
    package mutating func receivedData() { self.barren = 0 }

    /// A record without data, such as one that is empty.
    package mutating func receivedNothing() throws(TunnelError) {
        self.barren += 1
        if self.barren > 64 { throw TunnelError(.protocolViolation, "the peer sends records without data") }
    }

    /// A record of another type than application data.
    package mutating func received(type: UInt8, _ content: UnsafeRawBufferPointer) throws(TunnelError) -> Outcome {
        try self.receivedNothing()
        switch type {
        case RecordLayout.alert:
            guard content.count == 2 else { throw TunnelError(.protocolViolation, "the peer sent a malformed alert") }
            switch content[1] {
            case 0: return .ended
            // user_canceled announces a close_notify.
            case 90: return .ignored
            default: throw TunnelError(.alert, "the peer ended the tunnel: \(Alert.text(content[1]))")
            }
        case RecordLayout.handshake:
            for byte in content {
                guard case .keyUpdate = try self.postHandshake.next(byte) else { continue }
                throw TunnelError(
                    .keyExhausted,
                    "the peer changes its key, which kernel TLS cannot follow; set engine: user on this node")
            }
            return .ignored
        default:
            throw TunnelError(.protocolViolation, "the peer sent TLS content of type \(type)")
        }
    }

    /// The kernel's words for a record that it could not open, as ours; nil: the error is TCP's.
    package static func failure(_ error: SystemError) -> TunnelError? {
        switch error.errno {
        case EBADMSG:
            TunnelError(.recordForged, "a TLS record failed authentication; something between the nodes changed bytes")
        case EMSGSIZE, EINVAL, EIO:
            TunnelError(.protocolViolation, "the peer sent what is no TLS record (\(error))")
        default: nil
        }
    }
}
