// SPDX-License-Identifier: Apache-2.0
import Glibc
import Testing

@testable import MeshLinux

/// Counts by which it is told whether bytes were lost: each must be exact in every state of a connection.
@Suite struct StreamCountsTests {
    private final class Pair {
        let dialled: FileDescriptor
        let accepted: FileDescriptor

        init() throws {
            let loopback = Endpoint(high: 0, low: 0xffff_7f00_0001, port: 0)
            let listener = try Linux.tcpListener(at: loopback)
            let dialled = try Linux.tcpSocket()
            _ = try Linux.connect(dialled.raw, to: try Linux.localEndpoint(listener.raw))
            self.accepted = FileDescriptor(owning: try Self.accept(listener.raw))
            self.dialled = dialled
        }

        private static func accept(_ listener: CInt) throws -> CInt {
            while true {
                if case .done(let accepted) = try Linux.accept(listener) { return accepted.raw }
            }
        }
    }

    private func take(_ fd: CInt, _ count: Int) -> Int {
        var buffer = [UInt8](repeating: 0, count: count)
        var poller = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
        _ = poll(&poller, 1, 10_000)
        return recv(fd, &buffer, count, 0)
    }

    @Test func `bytes count when they pass the socket, FIN never`() throws {
        let pair = try Pair()
        let (one, other) = (pair.dialled.raw, pair.accepted.raw)
        let begin = (try Linux.streamCounts(one), try Linux.streamCounts(other))
        #expect(send(one, [UInt8](repeating: 1, count: 1000), 1000, 0) == 1000)
        #expect(try Linux.streamCounts(one).written - begin.0.written == 1000)
        // Arrived, but not taken.
        #expect(try Linux.streamCounts(other).read == begin.1.read)
        #expect(self.take(other, 400) == 400)
        #expect(try Linux.streamCounts(other).read - begin.1.read == 400)
        shutdown(one, CInt(SHUT_WR))
        var counts = try Linux.streamCounts(one)
        #expect(counts.written - begin.0.written == 1000 && counts.isEndSent && counts.isOpen)
        // FIN behind bytes, behind nothing, and read.
        usleep(1000)
        #expect(try Linux.streamCounts(other).read - begin.1.read == 400)
        #expect(self.take(other, 600) == 600)
        #expect(try Linux.streamCounts(other).read - begin.1.read == 1000)
        #expect(self.take(other, 1) == 0)
        counts = try Linux.streamCounts(other)
        #expect(counts.read - begin.1.read == 1000 && !counts.isEndSent && counts.isOpen)
        // The other direction goes on.
        #expect(send(other, [2, 2, 2], 3, 0) == 3)
        #expect(self.take(one, 3) == 3)
        #expect(try Linux.streamCounts(one).read - begin.0.read == 3)
        #expect(try Linux.streamCounts(other).written - begin.1.written == 3)
    }

    @Test func `a splice counts as the read and the write that it is`() throws {
        let from = try Pair()
        let to = try Pair()
        let pipe = try Pipe(capacity: 1 << 16)
        let begin = (try Linux.streamCounts(from.accepted.raw), try Linux.streamCounts(to.dialled.raw))
        #expect(send(from.dialled.raw, [UInt8](repeating: 1, count: 5000), 5000, 0) == 5000)
        var inPipe = 0
        for _ in 0..<10_000 where inPipe < 5000 {
            if case .done(let count) = try Linux.splice(from: from.accepted.raw, to: pipe.writeEnd.raw, 1 << 16) {
                inPipe += count
            }
        }
        #expect(try Linux.streamCounts(from.accepted.raw).read - begin.0.read == 5000)
        guard case .done(2000) = try Linux.splice(from: pipe.readEnd.raw, to: to.dialled.raw, 2000) else {
            Issue.record("not spliced")
            return
        }
        #expect(try Linux.streamCounts(to.dialled.raw).written - begin.1.written == 2000)
        #expect(Linux.unreadBytes(pipe.readEnd.raw) == 3000)
    }

    @Test func `urgent data makes counting impossible until it is read`() throws {
        let pair = try Pair()
        let (one, other) = (pair.dialled.raw, pair.accepted.raw)
        #expect(send(one, [1, 2, 3], 3, CInt(1)) == 3)
        var poller = pollfd(fd: other, events: Int16(POLLPRI), revents: 0)
        #expect(poll(&poller, 1, 10_000) == 1)
        let error = #expect(throws: SystemError.self) { try Linux.streamCounts(other) }
        #expect(error?.errno == EAGAIN)
    }

    @Test func `severing ends a connection whoever else has the socket`() throws {
        let reset = try Pair()
        let copy = FileDescriptor(owning: try Linux.duplicate(reset.dialled.raw))
        Linux.sever(try Linux.duplicate(reset.dialled.raw), isOrderly: false)
        #expect(try Linux.streamCounts(copy.raw).isOpen == false)
        #expect(self.take(reset.accepted.raw, 1) == -1 && errno == ECONNRESET)
        let ended = try Pair()
        Linux.sever(try Linux.duplicate(ended.dialled.raw), isOrderly: true)
        #expect(self.take(ended.accepted.raw, 1) == 0)
    }

    @Test func `shared words are what was stored last`() throws {
        let words = try SharedWords(name: "test", count: 10)
        words.store(7, at: 0)
        words.store(9, at: 3)
        words.store(1, at: 10)
        #expect(try SharedWords.read(words.memory.raw, limit: 5) == [7, 0, 0, 9, 0])
        #expect(try SharedWords.read(words.memory.raw, limit: 100).count == 10)
    }
}
