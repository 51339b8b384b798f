// SPDX-License-Identifier: Apache-2.0
import MeshDNS
import Testing

struct ClientStreamTests {
    @Test(arguments: [1, 2, 3, 7, 100]) func messagesArriveHoweverTheyAreCut(step: Int) {
        let bytes: [UInt8] = [0, 3, 1, 2, 3, 0, 0, 0, 1, 9, 0, 5, 1]
        var (stream, messages) = (ClientStream(now: 0), [[UInt8]]())
        for start in stride(from: 0, to: bytes.count, by: step) {
            messages += stream.received(bytes[start..<min(bytes.count, start + step)], now: 1)
        }
        #expect(messages == [[1, 2, 3], [], [9]])
    }

    @Test func itIsReadUntilTooManyWait() {
        var stream = ClientStream(now: 0)
        for _ in 0..<31 { stream.asked() }
        #expect(stream.wantsInput)
        stream.asked()
        #expect(!stream.wantsInput)
        stream.answered([1], now: 1)
        #expect(stream.wantsInput && !stream.isFinished)
        stream.enqueue([UInt8](repeating: 0, count: 65_535), now: 1)
        for _ in 0..<4 { stream.enqueue([UInt8](repeating: 0, count: 65_535), now: 1) }
        #expect(!stream.wantsInput)
    }

    @Test func itEndsWhenAllIsAnswered() {
        var stream = ClientStream(now: 0)
        stream.asked()
        stream.inputEnded()
        #expect(!stream.isFinished && !stream.isIdle(now: 99 * NameResolver.second))
        stream.answered([1, 2], now: 1)
        #expect(!stream.isFinished)
        stream.sent(4, now: 2)
        #expect(stream.isFinished)
        #expect(stream.isIdle(now: 99 * NameResolver.second))
    }
}
