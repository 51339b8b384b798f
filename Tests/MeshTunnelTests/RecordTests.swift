// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshModel
import Testing

@testable import MeshTunnel

@Suite struct RecordTests {
    /// Two ends of one session, made from fixed secrets.
    private func pair(_ suite: CipherSuite, capacity: Int = 4) throws -> (Records, Records) {
        func keys(_ seed: UInt8) throws -> TrafficKeys {
            let secret = [UInt8](repeating: seed, count: suite.secretLength)
            return try #require(secret.withUnsafeBytes { TrafficKeys(suite: suite, secret: $0) })
        }
        let id = try #require(SPIFFEID("spiffe://mesh.test/ns/a/sa/b"))
        func records(_ sending: UInt8, _ receiving: UInt8) throws -> Records {
            Records(
                TunnelSession(
                    suite: suite, sending: try keys(sending), receiving: try keys(receiving), peer: id, local: id),
                capacity: capacity)
        }
        return (try records(1, 2), try records(2, 1))
    }

    @Test(arguments: CipherSuite.allCases, [1, 2, 16383, 16384, 16385, 100_000, 131072])
    func `what is sealed is opened`(suite: CipherSuite, count: Int) throws {
        let (left, right) = try self.pair(suite)
        let content = pattern(count)
        let sealed = try left.seal(content)
        #expect(sealed.count == count + (count + 16383) / 16384 * RecordLayout.overhead)
        #expect(try right.open(sealed) == content)
    }

    @Test func `records are opened whole, wherever they are cut, and small ones move together`() throws {
        let (left, right) = try self.pair(.aes128GCM)
        var (stream, content): ([UInt8], [UInt8]) = ([], [])
        for index in 0..<300 {
            let piece = pattern(1 + index * 37 % 5000, seed: index)
            stream += try left.seal(piece)
            content += piece
        }
        var opened: [UInt8] = []
        var rest = stream[...]
        var step = 1
        while !rest.isEmpty {
            opened += try right.open(Array(rest.prefix(step)), capacity: 1 + step % 7)
            rest = rest.dropFirst(step)
            step = step * 7 % 9973 + 1
        }
        #expect(opened == content)
    }

    @Test func `a changed byte anywhere is found`() throws {
        let sealed = try self.pair(.aes128GCM).0.seal(Array("hello".utf8))
        for index in sealed.indices {
            let (_, right) = try self.pair(.aes128GCM)
            var changed = sealed
            changed[index] ^= 1
            let content = try? right.open(changed)
            // A changed length may just make the record incomplete.
            #expect(content == nil || content == [], "byte \(index)")
        }
        // Replay and reorder are changes too.
        let (_, right) = try self.pair(.aes128GCM)
        #expect(try right.open(sealed) == Array("hello".utf8))
        #expect(throws: TunnelError.self) { try right.open(sealed) }
    }

    @Test(
        arguments: [
            [23, 3, 3, 0x41, 1], [23, 3, 3, 0xff, 0xff], [23, 3, 3, 0, 16], [23, 3, 3, 0, 0], [22, 3, 3, 0, 32],
            [20, 3, 3, 0, 1, 1], [71, 69, 84, 32, 47],
        ] as [[UInt8]])
    func `impossible records are refused at their header`(header: [UInt8]) throws {
        let (_, right) = try self.pair(.aes128GCM)
        let error = #expect(throws: TunnelError.self) { try right.open(header + [0]) }
        #expect(error?.code == .protocolViolation)
    }

    @Test func `close_notify ends a direction, what follows is ignored`() throws {
        let (left, right) = try self.pair(.aes256GCM)
        let stream = try left.seal([1, 2, 3]) + left.closeNotify() + [9, 9, 9, 9, 9, 9]
        #expect(try right.open(stream) == [1, 2, 3])
        #expect(right.isEnded)
        #expect(try left.open(try right.seal([4])) == [4])
    }

    @Test func `a fatal alert is told in words`() throws {
        let (left, right) = try self.pair(.aes128GCM)
        let error = #expect(throws: TunnelError.self) { try right.open(try left.alert(48)) }
        #expect(error?.code == .alert && error?.message.contains("unknown_ca") == true)
    }

    @Test(arguments: CipherSuite.allCases)
    func `keys are updated in both directions, many times`(suite: CipherSuite) throws {
        let (left, right) = try self.pair(suite)
        for round in 0..<5 {
            let content = pattern(20000, seed: round)
            #expect(try right.open(try left.seal(content) + left.keyUpdate() + left.seal(content)) == content + content)
            #expect(try left.open(try right.keyUpdate() + right.seal(content)) == content)
        }
    }

    @Test func `sessions that share too small a pool of keys do not mix them up`() throws {
        let pairs = try (0..<5).map { _ in try self.pair(.aes128GCM, capacity: 2) }
        for round in 0..<20 {
            for (left, right) in pairs {
                #expect(try right.open(try left.seal(pattern(100, seed: round))) == pattern(100, seed: round))
                #expect(try left.open(try right.seal(pattern(10, seed: round))) == pattern(10, seed: round))
            }
        }
    }

    @Test func `a fast provider, where there is one, computes what OpenSSL computes`() {
        #expect(AEADProvider.openSSL.agrees(with: .openSSL, on: .chaCha20Poly1305))
        let (provider, why) = AEADProvider.fastest()
        for suite in [CipherSuite.aes128GCM, .aes256GCM] {
            #expect(provider.agrees(with: .openSSL, on: suite), "\(provider.name): \(why)")
        }
    }

    @Test func `post-handshake messages are skipped or refused, however they are cut`() throws {
        func events(_ bytes: [UInt8]) throws -> [PostHandshakeReader.Event] {
            var reader = PostHandshakeReader()
            return try bytes.map { try reader.next($0) }.filter { $0 != .nothing }
        }
        #expect(try events([24, 0, 0, 1, 0]) == [.keyUpdate(isAnswerWanted: false)])
        #expect(try events([4, 0, 0, 3, 1, 2, 3, 24, 0, 0, 1, 1]) == [.keyUpdate(isAnswerWanted: true)])
        #expect(try events([4, 0, 1, 0] + [UInt8](repeating: 24, count: 256)) == [])
        for bytes: [UInt8] in [
            [24, 0, 0, 2], [24, 0, 0, 0], [24, 0, 0, 1, 2], [4, 0, 0, 0], [4, 0xff, 0, 0], [1, 0, 0, 4], [13, 0, 0, 1],
        ] {
            #expect(throws: TunnelError.self) { try events(bytes) }
        }
    }
}
