// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Asks the parts of a daemon whether they still turn, none twice before it has answered.
package final class PulseCheck: Sendable {
    /// A part, and what has it call a closure as soon as it gets to it. False: it has ended and owes no answer.
    package struct Part: Sendable {
        package let name: String
        package let ask: @Sendable (_ answer: @escaping @Sendable () -> Void) -> Bool

        package init(_ name: String, ask: @escaping @Sendable (_ answer: @escaping @Sendable () -> Void) -> Bool) {
            self.name = name
            self.ask = ask
        }
    }

    private let parts: [Part]
    /// Positions of parts that were asked and have not answered.
    private let owing = Mutex<Set<Int>>([])

    package init(_ parts: [Part]) {
        self.parts = parts
    }

    /// - Parameter patience: how long an answer may take.
    /// - Returns: the names of parts that have not answered; one that has not for long comes back each time.
    package func silent(after patience: Duration) async -> [String] {
        for (index, part) in self.parts.enumerated() {
            guard self.owing.withLock({ $0.insert(index).inserted }) else { continue }
            let isAsked = part.ask { self.owing.withLock { _ = $0.remove(index) } }
            if !isAsked { self.owing.withLock { _ = $0.remove(index) } }
        }
        let deadline = ContinuousClock.now + patience
        while true {
            let left = self.owing.withLock { $0 }
            if left.isEmpty || ContinuousClock.now >= deadline { return left.sorted().map { self.parts[$0].name } }
            do { try await Task.sleep(for: .milliseconds(10)) } catch { return [] }
        }
    }
}
