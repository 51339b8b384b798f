// SPDX-License-Identifier: Apache-2.0

import MeshAgent
import Synchronization
import Testing

@Suite struct PulseCheckTests {
    /// A part that answers when it is told to.
    private final class Part: Sendable {
        private struct State {
            var isStuck: Bool
            var asked = 0
            var owed: [@Sendable () -> Void] = []
        }

        private let state: Mutex<State>

        init(isStuck: Bool) { self.state = Mutex(State(isStuck: isStuck)) }

        var asked: Int { self.state.withLock { $0.asked } }

        func ask(_ answer: @escaping @Sendable () -> Void) {
            let isStuck = self.state.withLock { state in
                state.asked += 1
                if state.isStuck { state.owed.append(answer) }
                return state.isStuck
            }
            if !isStuck { answer() }
        }

        func goOn() {
            let owed = self.state.withLock { state in
                state.isStuck = false
                defer { state.owed = [] }
                return state.owed
            }
            for answer in owed { answer() }
        }
    }

    @Test func `a part that does not answer is named, asked once, and forgiven`() async {
        let (well, stuck) = (Part(isStuck: false), Part(isStuck: true))
        let check = PulseCheck([
            .init("well") { answer in
                well.ask(answer)
                return true
            },
            .init("stuck") { answer in
                stuck.ask(answer)
                return true
            },
        ])
        #expect(await check.silent(after: .milliseconds(1)) == ["stuck"])
        #expect(await check.silent(after: .zero) == ["stuck"])
        #expect(stuck.asked == 1 && well.asked == 2)
        stuck.goOn()
        #expect(await check.silent(after: .seconds(60)) == [])
        #expect(stuck.asked == 2)
    }

    @Test func `a part that has ended owes nothing`() async {
        #expect(await PulseCheck([.init("ended") { _ in false }]).silent(after: .seconds(60)) == [])
    }
}
