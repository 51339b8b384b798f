// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshModel
import MeshStore
import Testing

@testable import MeshControl

@Suite struct LivenessTests {
    let start = ContinuousClock.now

    private func record(_ name: String, seen: TimeInterval?) -> NodeRecord {
        NodeRecord(
            name: name, addresses: [], tunnelPort: 15008, joinedAt: Date(timeIntervalSince1970: 0),
            lastSeenAt: seen.map { Date(timeIntervalSince1970: $0) }, generation: 1, joinID: "j")
    }

    @Test func silenceKillsAndAHeartbeatRevives() {
        let liveness = NodeLiveness(timeout: .seconds(30))
        #expect(liveness.heard("n1", now: self.start))
        #expect(liveness.heard("n1", now: self.start) == false)
        #expect(liveness.sweep(now: self.start + .seconds(30)) == [])
        let before = liveness.generation
        #expect(liveness.sweep(now: self.start + .seconds(31)) == ["n1"])
        #expect(liveness.isAlive("n1") == false)
        #expect(liveness.generation > before)
        #expect(liveness.sweep(now: self.start + .seconds(32)) == [])
        #expect(liveness.heard("n1", now: self.start + .seconds(33)))
        #expect(liveness.alive == ["n1"])
    }

    @Test func timeThatTheControlPlaneWasAwayKillsNobody() {
        let liveness = NodeLiveness(timeout: .seconds(30))
        liveness.restore(
            [
                self.record("fresh", seen: 1000), self.record("late", seen: 985), self.record("dead", seen: 900),
                self.record("never", seen: nil),
            ], now: self.start)
        #expect(liveness.alive == ["fresh", "late"])
        #expect(liveness.sweep(now: self.start + .seconds(31)) == ["fresh", "late"])
    }

    @Test func aForgottenNodeIsNotAlive() {
        let liveness = NodeLiveness(timeout: .seconds(30))
        liveness.heard("n1", now: self.start)
        liveness.forget("n1")
        #expect(liveness.alive.isEmpty)
        #expect(liveness.takeHeard(now: self.start).isEmpty)
    }

    @Test func tellsOnceWhoWasHeard() {
        let liveness = NodeLiveness(timeout: .seconds(30))
        liveness.heard("n1", now: self.start)
        #expect(liveness.takeHeard(now: self.start + .seconds(4)) == ["n1": .seconds(4)])
        #expect(liveness.takeHeard(now: self.start).isEmpty)
    }
}
