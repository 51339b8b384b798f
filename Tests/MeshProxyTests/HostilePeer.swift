// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import Testing

@testable import MeshProxy
@testable import MeshTunnel

/// A peer node that holds a good certificate and means ill. It blocks, so it lives on a thread of its own.
final class HostilePeer: @unchecked Sendable {
    let wire: Wire
    private let handshake: TunnelHandshake
    private var session: TunnelSession?
    private var pool = AEADContextPool(provider: .openSSL, capacity: 4)
    private var leftover: [UInt8] = []

    /// Dials.
    init(
        to address: SocketAddress, as identity: TLSIdentity, name: String = HostilePeer.serverName
    ) throws {
        self.wire = try Wire(to: address)
        let server = try #require(SPIFFEID("spiffe://mesh.test/ns/prod/sa/server"))
        self.handshake = try TunnelHandshake(connectingAs: identity, to: name, expecting: server)
    }

    /// Was dialled.
    init(accepted wire: Wire, as identity: TLSIdentity) throws {
        self.wire = wire
        self.handshake = try TunnelHandshake(accepting: try TunnelAcceptor()) { _ in .identity(identity) }
    }

    static let serverName = "server.prod.workload.mesh.internal"

    /// The first bytes of the handshake, not sent yet.
    func hello() -> [UInt8] {
        _ = self.handshake.advance()
        return self.output()
    }

    private func output() -> [UInt8] {
        var output = [UInt8](repeating: 0, count: self.handshake.outputCount)
        let count = output.withUnsafeMutableBytes { self.handshake.takeOutput($0) }
        return Array(output.prefix(count))
    }

    /// Shakes hands to the end.
    func secure() throws {
        while true {
            let progress = self.handshake.advance()
            try self.wire.write(self.output())
            switch progress {
            case .done(let session):
                self.session = session
                self.leftover = self.handshake.takeLeftover()
                return
            case .failed(let error): throw error
            case .needsBytes, .needsIdentity:
                let bytes = try self.wire.read()
                if bytes.isEmpty { throw SystemError(call: "recv", errno: ECONNRESET) }
                bytes.withUnsafeBytes { self.handshake.receive($0) }
            }
        }
    }

    /// One record with this inner plaintext; padding is zeros behind a type that is part of `content`.
    func record(_ type: UInt8, _ content: [UInt8]) throws -> [UInt8] {
        let session = try #require(self.session)
        var buffer = [UInt8](repeating: 0, count: content.count + 64)
        let count = try buffer.withUnsafeMutableBytes {
            try session.sealControl($0.baseAddress.unsafelyUnwrapped, type, content, &self.pool)
        }
        return Array(buffer.prefix(count))
    }

    func data(_ content: [UInt8]) throws -> [UInt8] { try self.record(23, content) }
    func data(_ text: String) throws -> [UInt8] { try self.data(Array(text.utf8)) }

    /// A KeyUpdate; what is sealed behind it has the next key.
    func keyUpdate() throws -> [UInt8] {
        let session = try #require(self.session)
        var buffer = [UInt8](repeating: 0, count: 64)
        let count = try buffer.withUnsafeMutableBytes {
            try session.sealKeyUpdate($0.baseAddress.unsafelyUnwrapped, pool: &self.pool)
        }
        return Array(buffer.prefix(count))
    }

    /// A KeyUpdate that wants to be answered.
    func keyUpdateWithWish() throws -> [UInt8] {
        let update = try self.record(22, [24, 0, 0, 1, 1])
        // Goes on to the next key; that record is not sent.
        _ = try self.keyUpdate()
        return update
    }

    /// Asks for `destination`, and reads the answer.
    func connect(_ destination: SocketAddress) throws -> String {
        try self.wire.write(
            try self.data("CONNECT \(destination) HTTP/1.1\r\nHost: \(destination)\r\n\r\n"))
        return String(decoding: try self.receive(1), as: UTF8.self)
    }

    /// Content, at least `count` bytes of it.
    func receive(_ count: Int) throws -> [UInt8] {
        var content: [UInt8] = []
        let session = try #require(self.session)
        var vector = [iovec](repeating: iovec(), count: 16)
        while true {
            let available = self.leftover.count
            var isEnd = false
            let consumed = try self.leftover.withUnsafeMutableBytes { bytes in
                guard let base = bytes.baseAddress else { return 0 }
                let opened = try session.open(base, count: available, into: &vector, capacity: 16, pool: &self.pool)
                for range in vector.prefix(opened.ranges) {
                    content += Array(UnsafeRawBufferPointer(start: range.iov_base, count: range.iov_len))
                }
                isEnd = opened.isEnd
                return opened.consumed
            }
            self.leftover.removeFirst(consumed)
            if content.count >= count || isEnd { return content }
            if consumed > 0 { continue }
            let bytes = try self.wire.read()
            if bytes.isEmpty { return content }
            self.leftover += bytes
        }
    }
}
