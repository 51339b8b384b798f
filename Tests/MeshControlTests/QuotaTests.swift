// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOEmbedded
import Synchronization
import Testing

@testable import MeshControl

@Suite struct QuotaTests {
    @Test func aNodesBudgetOfCertificatesFillsUpAgain() {
        let budget = IssueBudget(capacity: 4)
        let now = ContinuousClock.now
        for _ in 0..<4 { #expect(budget.take("n1", validity: 100, now: now)) }
        #expect(!budget.take("n1", validity: 100, now: now))
        #expect(budget.take("n2", validity: 100, now: now), "each node has its own")
        #expect(!budget.take("n1", validity: 100, now: now + .seconds(24)))
        #expect(budget.take("n1", validity: 100, now: now + .seconds(26)))
        #expect(!budget.take("n1", validity: 100, now: now + .seconds(27)))
    }

    @Test func connectionsOverTheLimitAreRefusedUntilOneEnds() throws {
        let refused = Atomic<Int>(0)
        let quota = ConnectionQuota(limit: 2) { refused.add(1, ordering: .relaxed) }
        let channels = (0..<2).map { _ in EmbeddedChannel() }
        for channel in channels { try quota.admit(channel) }
        let third = EmbeddedChannel()
        #expect(throws: ControlError.self) { try quota.admit(third) }
        #expect(refused.load(ordering: .relaxed) == 1)
        _ = try channels[0].finish()
        try quota.admit(third)
        _ = try channels[1].finish()
        _ = try third.finish()
    }
}
