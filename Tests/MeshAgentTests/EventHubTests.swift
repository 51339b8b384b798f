// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import Testing

@testable import MeshAgent

@Suite struct EventHubTests {
    private static func event(_ number: Int) -> NodeEvent {
        NodeEvent(time: "\(number)", kind: "decision", reason: "r")
    }

    @Test func theLatestAreKept() {
        let hub = EventHub(capacity: 3)
        for number in 1...5 { hub.publish(Self.event(number)) }
        #expect(hub.history.map(\.time) == ["3", "4", "5"])
    }

    @Test func aSubscriberGetsHistoryAndWhatComes() async throws {
        let hub = EventHub()
        hub.publish(Self.event(1))
        let (history, subscription) = try #require(hub.subscribe())
        hub.publish(Self.event(2))
        hub.close()
        #expect(history.map(\.time) == ["1"])
        var seen: [String] = []
        for await event in subscription { seen.append(event.time) }
        #expect(seen == ["2"])
        #expect(hub.subscribe() == nil)
    }

    @Test func aSlowSubscriberIsToldWhatItMissed() async throws {
        let hub = EventHub(queue: 2)
        let (_, subscription) = try #require(hub.subscribe())
        for number in 1...5 { hub.publish(Self.event(number)) }
        #expect(hub.lost == 3)
        var iterator = subscription.makeAsyncIterator()
        #expect(await iterator.next()?.time == "1")
        #expect(await iterator.next()?.time == "2")
        hub.publish(Self.event(6))
        let notice = await iterator.next()
        #expect(notice?.kind == "lost")
        #expect(notice?.detail?.hasPrefix("3 events") == true)
        #expect(await iterator.next()?.time == "6")
    }

    @Test func subscribersAreBoundedAndLetGo() async throws {
        let hub = EventHub(listeners: 1)
        do {
            let first = hub.subscribe()
            #expect(first != nil)
            #expect(hub.subscribe() == nil)
            let task = Task { for await _ in try #require(first?.subscription) {} }
            task.cancel()
            _ = await task.result
        }
        #expect(hub.listeners == 0)
        #expect(hub.subscribe() != nil)
    }

    @Test(arguments: [
        (UInt64(0), "1970-01-01T00:00:00.000000Z"), (1_767_323_045_123_456_789, "2026-01-02T03:04:05.123456Z"),
        (951_782_400_000_000_000, "2000-02-29T00:00:00.000000Z"),
        (1_735_689_599_999_999_999, "2024-12-31T23:59:59.999999Z"),
    ])
    func timesAreRFC3339(_ nanoseconds: UInt64, _ text: String) {
        #expect(EventTime.text(nanoseconds) == text)
    }
}
