// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel

/// What a scenario found wrong.
struct Wrong: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

func expect(_ isRight: Bool, _ text: @autoclosure () -> String) throws {
    if !isRight { throw Wrong(text()) }
}

/// A connected socket as a blocking application would use it; every wait ends after a minute.
final class Wire: Sendable {
    let fd: CInt
    private let owner: FileDescriptor

    init(owning fd: CInt) {
        self.fd = fd
        self.owner = FileDescriptor(owning: fd)
    }

    convenience init(to address: SocketAddress) throws {
        let socket = try Linux.tcpSocket()
        _ = try Linux.connect(socket.raw, to: address.endpoint)
        try Linux.setNoDelay(socket.raw)
        self.init(owning: socket.release())
        try self.wait(POLLOUT)
    }

    func wait(_ events: Int32) throws {
        var entry = pollfd(fd: self.fd, events: Int16(events), revents: 0)
        if poll(&entry, 1, 60_000) <= 0 { throw Wrong("nothing happens for 60 seconds") }
    }

    /// The next connection of a listener. A connect that has returned need not be in its queue yet.
    static func accept(from listener: CInt) throws -> Wire {
        var entry = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
        guard poll(&entry, 1, 20_000) > 0, case .done(let accepted) = try Linux.accept(listener) else {
            throw Wrong("nobody connects")
        }
        return Wire(owning: accepted.raw)
    }

    /// Up to `count` bytes; none at the end of the stream.
    func read(_ count: Int = 1 << 17) throws -> [UInt8] {
        var got = 0
        while true {
            let buffer = try [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
                let base = buffer.baseAddress.unsafelyUnwrapped
                switch try Linux.receive(self.fd, base, count) {
                case .done(let read): (got, filled) = (1, read)
                case .wouldBlock: filled = 0
                }
            }
            if got == 1 { return buffer }
            try self.wait(POLLIN)
        }
    }

    func read(exactly count: Int) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let more = try self.read(count - bytes.count)
            if more.isEmpty { throw Wrong("the stream ended after \(bytes.count) of \(count) bytes") }
            bytes += more
        }
        return bytes
    }

    func write(_ bytes: ArraySlice<UInt8>) throws {
        try bytes.withUnsafeBytes { bytes in
            var sent = 0
            while sent < bytes.count {
                switch try Linux.send(self.fd, bytes.baseAddress.unsafelyUnwrapped + sent, bytes.count - sent) {
                case .done(let count): sent += count
                case .wouldBlock: try self.wait(POLLOUT)
                }
            }
        }
    }

    func write(_ bytes: [UInt8]) throws { try self.write(bytes[...]) }

    func finish() { Linux.shutdownWrite(self.fd) }

    /// Ends with RST now.
    func reset() {
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(self.fd, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<linger>.size))
        var nobody = sockaddr(sa_family: sa_family_t(AF_UNSPEC), sa_data: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
        connect(self.fd, &nobody, socklen_t(MemoryLayout<sockaddr>.size))
    }

    /// The `errno` by which the connection ends; 0 for an orderly end.
    func endingError() -> CInt {
        do {
            while true { if try self.read().isEmpty { return 0 } }
        } catch { return (error as? SystemError)?.errno ?? -1 }
    }

    /// Sends `count` bytes of the pattern, in pieces of random sizes if wanted, then FIN.
    func writePattern(_ count: Int, random: Bool = false) throws {
        var done = 0
        while done < count {
            let place = done % Pattern.block.count
            var chunk = min(count - done, Pattern.block.count - place)
            if random {
                chunk = min(chunk, Int.random(in: 0..<8) == 0 ? .random(in: 1...64) : .random(in: 1...150_000))
            }
            try self.write(Pattern.block[place..<(place + chunk)])
            done += chunk
        }
    }

    /// Reads `count` bytes of the pattern and then the end, unless `isEndWanted` is false.
    func checkPattern(_ count: Int, isEndWanted: Bool = true, pause: UInt32 = 0) throws {
        var right = 0
        while right < count {
            let bytes = try self.read(min(count - right, 1 << 17))
            if bytes.isEmpty { throw Wrong("the stream ended after \(right) of \(count) bytes") }
            try Pattern.check(bytes, at: right)
            right += bytes.count
            if pause > 0 { usleep(pause) }
        }
        if isEndWanted { try expect(try self.read().isEmpty, "bytes behind the last one") }
    }
}

enum Pattern {
    /// Of a length that no buffer size divides, so that a shifted or repeated piece shows.
    static let block: [UInt8] = {
        var state: UInt64 = 88_172_645_463_325_252
        return [UInt8](unsafeUninitializedCapacity: 1_000_003) { buffer, count in
            count = 1_000_003
            for index in 0..<count {
                state ^= state << 13
                state ^= state >> 7
                state ^= state << 17
                buffer[index] = UInt8(truncatingIfNeeded: state)
            }
        }
    }()

    static func check(_ bytes: [UInt8], at start: Int) throws {
        var offset = 0
        while offset < bytes.count {
            let place = (start + offset) % Self.block.count
            let length = min(bytes.count - offset, Self.block.count - place)
            let isRight = bytes.withUnsafeBytes { bytes in
                Self.block.withUnsafeBytes { block in
                    memcmp(
                        bytes.baseAddress.unsafelyUnwrapped + offset, block.baseAddress.unsafelyUnwrapped + place,
                        length) == 0
                }
            }
            try expect(isRight, "a wrong byte within \(length) at \(start + offset)")
            offset += length
        }
    }
}

/// A thread with a result.
final class Worker<T: Sendable>: @unchecked Sendable {
    private var result: Result<T, any Error>?
    private var thread: OSThread?

    init(_ body: @escaping @Sendable () throws -> T) throws {
        self.thread = try OSThread(name: "worker") { self.result = Result(catching: body) }
    }

    /// Its result, once it has ended.
    func value() throws -> T {
        if let thread = self.thread.take() { thread.join() }
        guard let result = self.result else { throw Wrong("a thread ended without a result") }
        return try result.get()
    }
}

/// A server that takes one connection after the other, each on a thread of its own, until the program ends.
final class App: Sendable {
    let address: SocketAddress

    init(_ serve: @escaping @Sendable (Wire) throws -> Void) throws {
        let listener = try Linux.tcpListener(at: .loopback(port: 0))
        try Linux.setNoDelay(listener.raw)
        self.address = SocketAddress(try Linux.localEndpoint(listener.raw))
        let raw = listener.release()
        _ = try OSThread(name: "app") {
            while true {
                var entry = pollfd(fd: raw, events: Int16(POLLIN), revents: 0)
                _ = poll(&entry, 1, -1)
                guard case .done(let accepted)? = try? Linux.accept(raw) else { continue }
                let wire = Wire(owning: accepted.raw)
                _ = try? OSThread(name: "serve") {
                    do { try serve(wire) } catch { print("# application: \(error)") }
                }
            }
        }
    }
}

extension SocketAddress {
    init(_ endpoint: Endpoint) {
        self.init(ip: IPAddress(high: endpoint.high, low: endpoint.low), port: endpoint.port)
    }

    var endpoint: Endpoint { Endpoint(high: self.ip.high, low: self.ip.low, port: self.port) }
}
