// SPDX-License-Identifier: Apache-2.0

/// A queue that serves its keys in turn, so that one of them with much to do delays each other by one element at most.
/// Within a key the first in is the first out. What a key may queue is bounded.
struct FairQueue<Key: Hashable, Element> {
    /// Elements that one key may have waiting.
    let limitPerKey: Int

    /// Lanes that are kept, though empty, with the memory they have grown.
    private static var keptLanes: Int { 64 }

    private var lanes: [Key: FIFO<Element>] = [:]
    /// Whose turn it is, once for each of them.
    private var turns = FIFO<Key>()
    private(set) var count = 0

    var isEmpty: Bool { self.count == 0 }

    init(limitPerKey: Int) { self.limitPerKey = max(1, limitPerKey) }

    /// - Returns: whether it was taken; not when the key has its share waiting already.
    mutating func append(_ element: Element, key: Key) -> Bool {
        // In place: a copy of the lane would be a copy of all that waits in it.
        let waiting = self.lanes[key]?.count ?? 0
        if waiting >= self.limitPerKey { return false }
        if waiting == 0 { self.turns.append(key) }
        self.lanes[key, default: FIFO()].append(element)
        self.count += 1
        return true
    }

    /// The oldest element of the key whose turn it is.
    mutating func popFirst() -> Element? {
        guard let key = self.turns.popFirst(), let element = self.lanes[key]?.popFirst() else { return nil }
        self.count -= 1
        if self.lanes[key]?.isEmpty == false {
            self.turns.append(key)
        } else if self.lanes.count > Self.keptLanes {
            self.lanes[key] = nil
        }
        return element
    }

    /// How much a key has waiting.
    func count(of key: Key) -> Int { self.lanes[key]?.count ?? 0 }

    /// Drops elements; looks at all.
    mutating func removeAll(where isUnwanted: (Element) -> Bool) {
        for key in Array(self.lanes.keys) {
            self.lanes[key]?.removeAll(where: isUnwanted)
            if self.lanes[key]?.isEmpty == true { self.lanes[key] = nil }
        }
        let lanes = self.lanes
        self.turns.removeAll { lanes[$0] == nil }
        self.count = lanes.values.reduce(0) { $0 + $1.count }
    }
}

/// First in, first out, in an array whose front is given back from time to time.
private struct FIFO<Element> {
    private var elements: [Element?] = []
    private var head = 0

    var count: Int { self.elements.count - self.head }
    var isEmpty: Bool { self.count == 0 }

    mutating func append(_ element: Element) { self.elements.append(element) }

    mutating func popFirst() -> Element? {
        guard self.head < self.elements.count else { return nil }
        let element = self.elements[self.head].take()
        self.head += 1
        if self.head == self.elements.count {
            self.elements.removeAll(keepingCapacity: self.elements.count <= 1024)
            self.head = 0
        } else if self.head >= 32, self.head * 2 >= self.elements.count {
            self.elements.removeFirst(self.head)
            self.head = 0
        }
        return element
    }

    mutating func removeAll(where isUnwanted: (Element) -> Bool) {
        self.elements.removeFirst(self.head)
        self.head = 0
        self.elements.removeAll { $0.map(isUnwanted) ?? true }
    }
}
