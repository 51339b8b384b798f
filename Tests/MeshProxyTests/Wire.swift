// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import Testing

@testable import MeshProxy

/// A connected socket as a blocking application would use it; every wait ends after ten seconds.
final class Wire: Sendable {
    let fd: CInt
    private let owner: FileDescriptor

    init(owning fd: CInt) {
        self.fd = fd
        self.owner = FileDescriptor(owning: fd)
    }

    /// Connects from an ephemeral port.
    convenience init(to address: SocketAddress) throws {
        let endpoint = MeshLinux.Endpoint(address)
        let socket = try Linux.tcpSocket(endpoint.family)
        _ = try Linux.connect(socket.raw, to: endpoint)
        self.init(owning: socket.release())
        // How it went, the next call says: the proxy may have reset the connection already.
        self.wait(POLLOUT)
    }

    @discardableResult
    private func wait(_ events: Int32) -> Bool {
        var entry = pollfd(fd: self.fd, events: Int16(events), revents: 0)
        return poll(&entry, 1, 60_000) > 0
    }

    /// Up to `count` bytes; empty at the end of the stream.
    func read(_ count: Int = 1 << 18) throws -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: count)
        while true {
            switch try Linux.receive(self.fd, &buffer, count) {
            case .done(let read): return Array(buffer.prefix(read))
            case .wouldBlock: if !self.wait(POLLIN) { throw SystemError(call: "recv", errno: ETIMEDOUT) }
            }
        }
    }

    func read(exactly count: Int) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let more = try self.read(count - bytes.count)
            if more.isEmpty { break }
            bytes += more
        }
        return bytes
    }

    func readToEnd() throws -> [UInt8] {
        var bytes: [UInt8] = []
        while true {
            let more = try self.read()
            if more.isEmpty { return bytes }
            bytes += more
        }
    }

    func write(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let result = try bytes.withUnsafeBytes { bytes in
                try Linux.send(self.fd, bytes.baseAddress.unsafelyUnwrapped + sent, bytes.count - sent)
            }
            switch result {
            case .done(let count): sent += count
            case .wouldBlock: if !self.wait(POLLOUT) { throw SystemError(call: "send", errno: ETIMEDOUT) }
            }
        }
    }

    func write(_ text: String) throws { try self.write(Array(text.utf8)) }

    func finish() { Linux.shutdownWrite(self.fd) }

    /// Sends RST. The descriptor stays until this value ends.
    func reset() {
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(self.fd, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<linger>.size))
        // Connecting to "nobody" disconnects a TCP socket, with RST because of the linger.
        var nobody = sockaddr(sa_family: sa_family_t(AF_UNSPEC), sa_data: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
        connect(self.fd, &nobody, socklen_t(MemoryLayout<sockaddr>.size))
    }

    /// The `errno` by which the connection ends; 0 for an orderly end.
    func endingError() -> CInt {
        do {
            while true { if try self.read().isEmpty { return 0 } }
        } catch { return (error as? SystemError)?.errno ?? -1 }
    }

    /// Sends `count` bytes of the pattern.
    func writePattern(_ count: Int) throws {
        var left = count
        while left > 0 {
            let chunk = min(left, Pattern.block.count)
            try self.write(chunk == Pattern.block.count ? Pattern.block : Array(Pattern.block.prefix(chunk)))
            left -= chunk
        }
    }

    /// Reads `count` bytes and compares them with the pattern.
    ///
    /// - Returns: the bytes that were right up to the first that is wrong or missing.
    func readPattern(_ count: Int, pause: UInt32 = 0) throws -> Int {
        var right = 0
        while right < count {
            let bytes = try self.read(min(count - right, 1 << 18))
            if bytes.isEmpty { return right }
            var offset = 0
            while offset < bytes.count {
                let place = (right + offset) % Pattern.block.count
                let length = min(bytes.count - offset, Pattern.block.count - place)
                let isRight = bytes.withUnsafeBytes { bytes in
                    Pattern.block.withUnsafeBytes { block in
                        memcmp(
                            bytes.baseAddress.unsafelyUnwrapped + offset, block.baseAddress.unsafelyUnwrapped + place,
                            length) == 0
                    }
                }
                if !isRight { return right + offset }
                offset += length
            }
            right += bytes.count
            if pause > 0 { usleep(pause) }
        }
        return right
    }
}

enum Pattern {
    /// Of a length that no buffer size divides, so that a shifted or repeated piece shows.
    static let block: [UInt8] = {
        var state: UInt64 = 88_172_645_463_325_252
        return (0..<1_000_003).map { _ in
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return UInt8(truncatingIfNeeded: state)
        }
    }()
}

/// Runs `body` on a thread of its own, so that waiting does not hold one of Swift's.
func onThread<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
    try await withCheckedThrowingContinuation { continuation in
        do {
            _ = try OSThread(name: "test") { continuation.resume(with: Result(catching: body)) }
        } catch { continuation.resume(throwing: error) }
    }
}

/// A server application: one thread accepts, one serves each connection.
final class App: Sendable {
    let address: SocketAddress
    private let listener: FileDescriptor

    init(
        at endpoint: MeshLinux.Endpoint = .loopback(port: 0), _ serve: @escaping @Sendable (Wire) throws -> Void
    ) throws {
        let listener = try Linux.tcpListener(at: endpoint)
        self.address = SocketAddress(try Linux.localEndpoint(listener.raw))
        let accepting = try listener.duplicate()
        self.listener = listener
        let raw = accepting.release()
        _ = try OSThread(name: "app") {
            while true {
                var entry = pollfd(fd: raw, events: Int16(POLLIN), revents: 0)
                _ = poll(&entry, 1, -1)
                do throws(SystemError) {
                    guard case .done(let accepted) = try Linux.accept(raw) else { continue }
                    let wire = Wire(owning: accepted.raw)
                    _ = try OSThread(name: "serve") { try? serve(wire) }
                } catch {
                    // The listener was shut down.
                    Linux.close(raw)
                    return
                }
            }
        }
    }

    deinit { shutdown(self.listener.raw, CInt(SHUT_RDWR)) }

    /// Sends back what it gets, until the end.
    static func echo(at endpoint: MeshLinux.Endpoint = .loopback(port: 0)) throws -> App {
        try App(at: endpoint) { wire in
            while true {
                let bytes = try wire.read()
                if bytes.isEmpty { break }
                try wire.write(bytes)
            }
            wire.finish()
        }
    }
}
