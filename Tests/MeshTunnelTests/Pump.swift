// SPDX-License-Identifier: Apache-2.0
import COpenSSL
import Glibc
import MeshTunnel
import Testing

/// One end of a handshake in memory.
protocol HandshakeEnd: AnyObject {
    /// Takes bytes, goes as far as possible, and gives the bytes it has for the other end.
    func step(_ input: [UInt8]) -> [UInt8]
    var isSettled: Bool { get }
}

/// One of ours.
final class MeshEnd: HandshakeEnd {
    let handshake: TunnelHandshake
    private(set) var session: TunnelSession?
    private(set) var failure: TunnelError?
    private(set) var isParked = false
    private(set) var leftover: [UInt8] = []

    init(_ handshake: TunnelHandshake) { self.handshake = handshake }

    var isSettled: Bool { self.session != nil || self.failure != nil }

    func step(_ input: [UInt8]) -> [UInt8] {
        if self.session != nil {
            self.leftover += input
            return []
        }
        input.withUnsafeBytes { self.handshake.receive($0) }
        if self.failure == nil {
            self.isParked = false
            switch self.handshake.advance() {
            case .needsBytes: break
            case .needsIdentity: self.isParked = true
            case .done(let session):
                self.session = session
                self.leftover = self.handshake.takeLeftover()
            case .failed(let error): self.failure = error
            }
        }
        var output = [UInt8](repeating: 0, count: self.handshake.outputCount)
        let count = output.withUnsafeMutableBytes { self.handshake.takeOutput($0) }
        return Array(output.prefix(count))
    }
}

/// Carries bytes between two ends, `chunk` at a time, until nobody has any.
func shake(_ left: any HandshakeEnd, _ right: any HandshakeEnd, chunk: Int = .max) {
    var (toRight, toLeft) = (left.step([]), right.step([]))
    for _ in 0..<100_000 where !(toRight.isEmpty && toLeft.isEmpty) {
        let first = Array(toRight.prefix(chunk))
        toRight.removeFirst(first.count)
        if !first.isEmpty { toLeft += right.step(first) }
        let second = Array(toLeft.prefix(chunk))
        toLeft.removeFirst(second.count)
        if !second.isEmpty { toRight += left.step(second) }
    }
}

/// A session with the pool it needs, by value in and out.
final class Records {
    let session: TunnelSession
    private var pool: AEADContextPool
    private var pending: [UInt8] = []
    private(set) var isEnded = false
    /// The last ``open(_:capacity:)`` stopped at the end of a connection.
    private(set) var isStreamEnded = false

    init(_ session: TunnelSession, provider: AEADProvider = .openSSL, capacity: Int = 4) {
        self.session = session
        self.pool = AEADContextPool(provider: provider, capacity: capacity)
    }

    func seal(_ content: [UInt8]) throws -> [UInt8] {
        let records = max(1, (content.count + RecordLayout.content - 1) / RecordLayout.content)
        var buffer = [UInt8](repeating: 0, count: records * RecordLayout.stride)
        for index in 0..<content.count {
            buffer[
                index / RecordLayout.content * RecordLayout.stride + RecordLayout.header + index % RecordLayout.content] =
                content[index]
        }
        let count = try buffer.withUnsafeMutableBytes { bytes in
            try self.session.seal(try #require(bytes.baseAddress), count: content.count, pool: &self.pool)
        }
        return Array(buffer.prefix(count))
    }

    private func control(
        _ body: (UnsafeMutableRawPointer, inout AEADContextPool) throws(TunnelError) -> Int
    ) throws -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: TunnelSession.controlLength)
        let count = try buffer.withUnsafeMutableBytes { try body(try #require($0.baseAddress), &self.pool) }
        return Array(buffer.prefix(count))
    }

    func closeNotify() throws -> [UInt8] {
        try self.control { base, pool throws(TunnelError) in try self.session.sealCloseNotify(base, pool: &pool) }
    }

    func alert(_ code: UInt8) throws -> [UInt8] {
        try self.control { base, pool throws(TunnelError) in try self.session.sealAlert(code, base, pool: &pool) }
    }

    func streamEnd() throws -> [UInt8] {
        try self.control { base, pool throws(TunnelError) in try self.session.sealStreamEnd(base, pool: &pool) }
    }

    func keyUpdate() throws -> [UInt8] {
        try self.control { base, pool throws(TunnelError) in try self.session.sealKeyUpdate(base, pool: &pool) }
    }

    /// Opens what is whole and keeps the rest.
    func open(_ bytes: [UInt8], capacity: Int = 64) throws -> [UInt8] {
        self.pending += bytes
        var content: [UInt8] = []
        var vector = [iovec](repeating: iovec(), count: capacity)
        while !self.isEnded {
            let count = self.pending.count
            let opened = try self.pending.withUnsafeMutableBytes { bytes in
                try vector.withUnsafeMutableBufferPointer { vector in
                    guard let base = bytes.baseAddress, let first = vector.baseAddress else {
                        return TunnelSession.Opened()
                    }
                    let opened = try self.session.open(
                        base, count: count, into: first, capacity: capacity, pool: &self.pool)
                    for range in vector.prefix(opened.ranges) {
                        content += Array(UnsafeRawBufferPointer(start: range.iov_base, count: range.iov_len))
                    }
                    return opened
                }
            }
            self.isEnded = opened.isEnd
            self.isStreamEnded = opened.isStreamEnd
            self.pending.removeFirst(opened.consumed)
            if opened.consumed == 0 || opened.isStreamEnd { break }
        }
        return content
    }
}

/// `count` bytes that differ from place to place.
func pattern(_ count: Int, seed: Int = 0) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: ($0 &+ seed) &* 31 ^ ($0 >> 8)) }
}
