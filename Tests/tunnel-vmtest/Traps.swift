// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshTunnel

/// The traps of kernel TLS, shown on bare sockets without the proxy: that they are real in this kernel, and that what
/// the proxy does against each helps. Where a later kernel has mended one, the note says so.
enum Traps {
    static let all: [Main.Scenario] = [
        ("trap-1-splice-in-hangs", { try Self.hang() }), ("trap-2-splice-out-loses", { try Self.loss() }),
        ("trap-3-shutdown-discards", { try Self.discard() }), ("trap-5-key-update", { try Self.rekey() }),
        ("trap-6-late-ulp", { try Self.lateProtocol() }), ("trap-7-three-zeros", { try Self.zeros() }),
    ]

    /// Two ends of a connection; the first seals, the second opens.
    struct Pair {
        let left: Wire
        let right: Wire

        init(send: CInt? = nil, receive: CInt? = nil, opens: Bool = true) throws {
            let listener = try Linux.tcpListener(at: .loopback(port: 0))
            if let receive { try Linux.setBufferSizes(listener.raw, send: nil, receive: receive) }
            let left = Wire(owning: try Linux.tcpSocket().release())
            if let send { try Linux.setBufferSizes(left.fd, send: send, receive: nil) }
            _ = try Linux.connect(left.fd, to: Linux.localEndpoint(listener.raw))
            try left.wait(POLLOUT)
            let right = try Wire.accept(from: listener.raw)
            try Linux.setNoDelay(left.fd)
            try Linux.prepareTLS(left.fd)
            try Self.install(left.fd, .sending)
            if opens {
                try Linux.prepareTLS(right.fd)
                try Self.install(right.fd, .receiving)
            }
            self.left = left
            self.right = right
        }

        static func install(_ fd: CInt, _ direction: Linux.TLSDirection) throws {
            try Linux.installTLS(
                fd, direction, suite: CipherSuite.aes128GCM.rawValue, key: [UInt8](repeating: 1, count: 32),
                iv: [UInt8](repeating: 2, count: 12), sequence: 0)
        }
    }

    static func fill(_ pipe: borrowing Pipe, _ count: Int) throws {
        let written = Pattern.block.withUnsafeBytes { write(pipe.writeEnd.raw, $0.baseAddress, count) }
        try expect(written == count, "the pipe took \(written) of \(count)")
    }

    /// T1: the send buffer is small, the peer's window large, the pipe full; nothing is in flight and nothing moves.
    static func hang() throws -> String {
        let pair = try Pair(send: 8192, receive: 212_992, opens: false)
        let pipe = try Pipe(capacity: 1 << 18)
        try Self.fill(pipe, 1 << 18)
        var (left, stalls, kicks) = (1 << 18, 0, 0)
        while left > 0 {
            switch try Linux.splice(from: pipe.readEnd.raw, to: pair.left.fd, left) {
            case .done(let count): left -= count
            case .wouldBlock:
                // Does it become writable by itself, while the peer reads all it gets?
                var entry = pollfd(fd: pair.left.fd, events: Int16(POLLOUT), revents: 0)
                for _ in 0..<20 where poll(&entry, 1, 5) == 0 { while !(try Self.drain(pair.right)).isEmpty {} }
                if entry.revents & Int16(POLLOUT) == 0 {
                    stalls += 1
                    try Linux.setNoDelay(pair.left.fd)
                    kicks += 1
                    for _ in 0..<200 where poll(&entry, 1, 5) == 0 { while !(try Self.drain(pair.right)).isEmpty {} }
                    try expect(entry.revents & Int16(POLLOUT) != 0, "it hangs in spite of TCP_NODELAY, \(left) left")
                }
            }
        }
        return stalls > 0 ? "hung \(stalls) times, freed each time" : "does not hang in this kernel"
    }

    private static func drain(_ wire: Wire) throws -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 65536)
        guard case .done(let count) = try Linux.receive(wire.fd, &buffer, buffer.count) else { return [] }
        return Array(buffer.prefix(count))
    }

    /// T2: records spliced into a pipe with too little room, and with enough.
    static func loss() throws -> String {
        var lost: [Int] = []
        for isGuarded in [false, true] {
            let pair = try Pair()
            let total = 4 * 16384
            try pair.left.write(Pattern.block[..<total])
            let pipe = try Pipe(capacity: isGuarded ? 16 * 4096 : 4096)
            var received: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 65536)
            for _ in 0..<2000 where received.count < total {
                _ = try Linux.splice(from: pair.right.fd, to: pipe.writeEnd.raw, 1 << 20)
                let count = read(pipe.readEnd.raw, &buffer, buffer.count)
                if count > 0 { received += buffer.prefix(count) } else { usleep(200) }
            }
            lost.append(total - received.count)
            if isGuarded { try Pattern.check(received, at: 0) }
        }
        try expect(lost[1] == 0, "lost \(lost[1]) bytes in spite of a large pipe")
        return lost[0] > 0
            ? "a small pipe loses \(lost[0]) bytes, silently" : "a small pipe loses nothing in this kernel"
    }

    /// T3: shutdown right after a record that TCP had no room for.
    static func discard() throws -> String {
        var short = [0, 0]
        for isGuarded in [false, true] {
            // The peer does not read yet and has room for little.
            let pair = try Pair(send: 16384, receive: 4096, opens: false)
            let before = try Linux.bytesInTCP(pair.left.fd)
            var (content, records) = (0, 0)
            while case .done(let count) = try Pattern.block.withUnsafeBytes({
                try Linux.send(pair.left.fd, $0.baseAddress.unsafelyUnwrapped, 16384)
            }) {
                content += count
                records += 1
            }
            let reader = try Worker { [wire = pair.right] in
                if !isGuarded { usleep(50_000) }
                var total = 0
                while true {
                    let bytes = try wire.read()
                    if bytes.isEmpty { return total }
                    total += bytes.count
                }
            }
            let due = content + 22 * Int(try Linux.sequenceOfTLS(pair.left.fd, .sending, suite: 0x1301))
            if isGuarded {
                for _ in 0..<2000 where Int(try Linux.bytesInTCP(pair.left.fd) - before) < due { usleep(5000) }
            }
            Linux.shutdownWrite(pair.left.fd)
            short[isGuarded ? 1 : 0] = due - (try reader.value())
        }
        try expect(short[1] == 0, "\(short[1]) bytes are missing though all were in TCP")
        return short[0] > 0 ? "shutdown at once discards \(short[0]) bytes" : "shutdown discards nothing in this kernel"
    }

    /// T5: the keys of a direction cannot be replaced.
    static func rekey() throws -> String {
        let pair = try Pair()
        do throws(SystemError) {
            try Linux.installTLS(
                pair.right.fd, .receiving, suite: 0x1301, key: [UInt8](repeating: 3, count: 32),
                iv: [UInt8](repeating: 4, count: 12), sequence: 0)
            return "this kernel takes a second key"
        } catch { return "a second key: \(error)" }
    }

    /// T6: the protocol after the peer's FIN, and before it.
    static func lateProtocol() throws -> String {
        var outcomes: [String] = []
        for isEarly in [false, true] {
            let listener = try Linux.tcpListener(at: .loopback(port: 0))
            let left = Wire(owning: try Linux.tcpSocket().release())
            _ = try Linux.connect(left.fd, to: Linux.localEndpoint(listener.raw))
            try left.wait(POLLOUT)
            let right = try Wire.accept(from: listener.raw)
            if isEarly { try Linux.prepareTLS(right.fd) }
            left.finish()
            try right.wait(POLLIN)
            do throws(SystemError) {
                if !isEarly { try Linux.prepareTLS(right.fd) }
                try Linux.installTLS(
                    right.fd, .receiving, suite: 0x1301, key: [UInt8](repeating: 1, count: 32),
                    iv: [UInt8](repeating: 2, count: 12), sequence: 0)
                outcomes.append("works")
            } catch { outcomes.append(error.description) }
        }
        try expect(outcomes[1] == "works", "set early it fails too: \(outcomes[1])")
        return "late: \(outcomes[0])"
    }

    /// T7: what splice says to the end of the stream.
    static func zeros() throws -> String {
        let pair = try Pair()
        pair.left.finish()
        try pair.right.wait(POLLIN)
        let pipe = try Pipe(capacity: 65536)
        let result = try Linux.splice(from: pair.right.fd, to: pipe.writeEnd.raw, 65536)
        try expect(result == .done(0), "splice: \(result)")
        var byte: UInt8 = 0
        let peeked = try Linux.peek(pair.right.fd, &byte, 1)
        try expect(peeked == .done(0), "peek: \(peeked)")
        return ""
    }
}
