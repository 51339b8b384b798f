// SPDX-License-Identifier: Apache-2.0
import MeshDNS
import MeshModel
import Testing

struct CacheTests {
    private static let second = NameResolver.second

    private static func key(_ name: String, of resolver: Upstream? = nil, edns: EDNS? = nil) throws -> AnswerCache.Key {
        AnswerCache.Key(try DNSQuery(Messages.query(name, edns: edns)), of: resolver)
    }

    private static func response(_ name: String, time: UInt32, addresses: Int = 1) throws -> DNSResponse {
        let all = (0..<addresses).map { "192.0.2.\($0 % 250)" }
        return try #require(DNSResponse(Messages.answer(to: Messages.query(name), addresses: all, time: time)))
    }

    @Test func anAnswerIsKeptForItsTime() throws {
        var cache = AnswerCache(capacity: 10, staleLifetime: 0)
        let key = try Self.key("a.b")
        cache.store(try Self.response("a.b", time: 10), for: key, now: 5 * Self.second)
        #expect(cache.lookup(key, now: 5 * Self.second)?.age == 0)
        #expect(cache.lookup(try Self.key("A.B"), now: 14 * Self.second)?.age == 9)
        #expect(cache.lookup(key, now: 15 * Self.second) == nil)
        #expect(cache.count == 0 && cache.byteCount == 0)
    }

    @Test func whoWasAskedAndHowMakesAnotherAnswer() throws {
        var cache = AnswerCache(capacity: 10, staleLifetime: 0)
        cache.store(try Self.response("a.b", time: 10), for: try Self.key("a.b"), now: 0)
        let other = Upstream(address: IPAddress(ipv4: 1), namespace: 7)
        #expect(cache.lookup(try Self.key("a.b", of: other), now: 0) == nil)
        #expect(cache.lookup(try Self.key("a.b", edns: EDNS(size: 512, wantsSecurity: true)), now: 0) == nil)
        #expect(cache.lookup(try Self.key("a.b", edns: EDNS(size: 512)), now: 0) != nil)
    }

    @Test func theLeastRecentlyUsedGoFirst() throws {
        var cache = AnswerCache(capacity: 3, staleLifetime: 0)
        for name in ["a", "b", "c"] {
            cache.store(try Self.response(name, time: 99), for: try Self.key(name), now: 0)
        }
        #expect(cache.lookup(try Self.key("a"), now: 1) != nil)
        cache.store(try Self.response("d", time: 99), for: try Self.key("d"), now: 1)
        let left = try ["a", "b", "c", "d"].filter { cache.lookup(try Self.key($0), now: 1) != nil }
        #expect(left == ["a", "c", "d"] && cache.count == 3)
    }

    @Test func bytesAreBoundedToo() throws {
        var cache = AnswerCache(capacity: 4, staleLifetime: 0)
        for index in 0..<50 {
            let name = "n\(index)"
            cache.store(try Self.response(name, time: 99, addresses: 80), for: try Self.key(name), now: 0)
            #expect(cache.byteCount <= 4 * 1024 && cache.count <= 4)
        }
        #expect(cache.count > 0)
        cache.store(try Self.response("big", time: 99, addresses: 600), for: try Self.key("big"), now: 0)
        #expect(cache.lookup(try Self.key("big"), now: 0) == nil)
    }

    @Test func whatIsPastItsTimeServesInNeed() throws {
        var cache = AnswerCache(capacity: 4, staleLifetime: 100)
        let key = try Self.key("a")
        cache.store(try Self.response("a", time: 10), for: key, now: 0)
        #expect(cache.lookup(key, now: 50 * Self.second) == nil)
        #expect(cache.lookup(key, now: 50 * Self.second, isStale: true) != nil)
        #expect(cache.lookup(key, now: 110 * Self.second, isStale: true) == nil)
    }

    @Test func nothingIsKeptWithoutRoomOrTime() throws {
        var none = AnswerCache(capacity: 0, staleLifetime: 100)
        none.store(try Self.response("a", time: 10), for: try Self.key("a"), now: 0)
        #expect(none.count == 0)
        var cache = AnswerCache(capacity: 4, staleLifetime: 100)
        cache.store(try Self.response("a", time: 0), for: try Self.key("a"), now: 0)
        #expect(cache.count == 0)
    }
}
