// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import MeshProxy

@Suite struct FairQueueTests {
    /// By reference, so that expectations can call what mutates.
    private final class Queue<Key: Hashable, Element> {
        private var queue: FairQueue<Key, Element>

        init(limitPerKey: Int) { self.queue = FairQueue(limitPerKey: limitPerKey) }

        var count: Int { self.queue.count }
        var isEmpty: Bool { self.queue.isEmpty }
        func count(of key: Key) -> Int { self.queue.count(of: key) }
        func append(_ element: Element, key: Key) -> Bool { self.queue.append(element, key: key) }
        func popFirst() -> Element? { self.queue.popFirst() }
        func removeAll(where isUnwanted: (Element) -> Bool) { self.queue.removeAll(where: isUnwanted) }
    }

    private func drained<Key, Element>(_ queue: Queue<Key, Element>) -> [Element] {
        var elements: [Element] = []
        while let element = queue.popFirst() { elements.append(element) }
        #expect(queue.isEmpty)
        return elements
    }

    @Test func `a key with one element waits for one of each other key, not for all of them`() {
        let queue = Queue<String, String>(limitPerKey: 100)
        for number in 0..<50 { #expect(queue.append("a\(number)", key: "a")) }
        #expect(queue.append("b0", key: "b"))
        #expect(queue.append("c0", key: "c"))
        #expect(queue.append("c1", key: "c"))
        #expect(queue.count == 53)
        #expect(Array(self.drained(queue).prefix(6)) == ["a0", "b0", "c0", "a1", "c1", "a2"])
    }

    @Test func `within a key the order stays`() {
        let queue = Queue<Int, Int>(limitPerKey: 1000)
        for number in 0..<900 { #expect(queue.append(number, key: number % 3)) }
        let elements = self.drained(queue)
        #expect(elements.count == 900)
        for key in 0..<3 {
            let own = elements.filter { $0 % 3 == key }
            #expect(own == own.sorted())
        }
    }

    @Test func `a key cannot queue more than its share, others still can`() {
        let queue = Queue<String, Int>(limitPerKey: 2)
        #expect(queue.append(1, key: "a"))
        #expect(queue.append(2, key: "a"))
        #expect(!queue.append(3, key: "a"))
        #expect(queue.append(4, key: "b"))
        #expect(queue.count == 3 && queue.count(of: "a") == 2)
        #expect(queue.popFirst() == 1)
        #expect(queue.append(5, key: "a"))
        #expect(self.drained(queue) == [4, 2, 5])
    }

    @Test func `a key that was empty queues behind those that wait`() {
        let queue = Queue<String, Int>(limitPerKey: 8)
        #expect(queue.append(1, key: "a"))
        #expect(queue.popFirst() == 1)
        #expect(queue.append(2, key: "b"))
        #expect(queue.append(3, key: "a"))
        #expect(queue.append(4, key: "b"))
        #expect(self.drained(queue) == [2, 3, 4])
    }

    @Test func `what is removed is gone, and turns go on`() {
        let queue = Queue<String, Int>(limitPerKey: 8)
        for number in 0..<6 { #expect(queue.append(number, key: number < 3 ? "a" : "b")) }
        #expect(queue.popFirst() == 0)
        queue.removeAll { $0 < 3 || $0 == 4 }
        #expect(queue.count == 2 && queue.count(of: "a") == 0)
        #expect(queue.append(7, key: "a"))
        #expect(self.drained(queue) == [3, 7, 5])
        queue.removeAll { _ in true }
        #expect(queue.isEmpty && queue.popFirst() == nil)
    }

    @Test func `long use keeps only what waits`() {
        let queue = Queue<Int, Int>(limitPerKey: 64)
        for number in 0..<20_000 {
            #expect(queue.append(number, key: number % 7))
            if number >= 50 { #expect(queue.popFirst() != nil) }
        }
        #expect(queue.count == 50)
        #expect(Set(self.drained(queue)) == Set(19_950..<20_000))
    }

    private final class Thing {}

    @Test func `a popped element is not kept alive`() throws {
        let queue = Queue<Int, Thing>(limitPerKey: 4)
        weak var watched: Thing?
        do {
            let thing = Thing()
            watched = thing
            #expect(queue.append(thing, key: 1))
        }
        #expect(queue.append(Thing(), key: 1))
        #expect(watched != nil)
        _ = queue.popFirst()
        #expect(watched == nil && queue.count == 1)
    }
}
