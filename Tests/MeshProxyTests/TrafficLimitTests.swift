// SPDX-License-Identifier: Apache-2.0
import MeshModel
import Testing

@testable import MeshProxy

/// Limits of destinations and of workloads, and the budget of retries, each by itself.
@Suite struct TrafficLimitTests {
    private static let second: UInt64 = 1_000_000_000
    private let now: UInt64 = 50 * TrafficLimitTests.second

    private func refusal(_ breaker: CircuitBreaker, _ policy: DestinationPolicy?, now: UInt64) -> CircuitBreaker
        .Refusal?
    {
        do throws(CircuitBreaker.Refusal) {
            try breaker.admit(policy, now: now)
            return nil
        } catch { return error }
    }

    private func refusal(_ usage: WorkloadUsage, now: UInt64) -> WorkloadUsage.Refusal? {
        do throws(WorkloadUsage.Refusal) {
            try usage.admit(now: now)
            return nil
        } catch { return error }
    }

    @Test func `a service's connections are limited, and counted before there is a limit`() {
        let breaker = CircuitBreaker()
        #expect(self.refusal(breaker, nil, now: self.now) == nil)
        let policy = DestinationPolicy(maxConnections: 2)
        #expect(self.refusal(breaker, policy, now: self.now) == nil)
        #expect(self.refusal(breaker, policy, now: self.now) == .maxConnections(2))
        // The refused one left nothing behind.
        #expect(breaker.counts == (2, 2))
        breaker.established()
        breaker.ended(wasPending: false)
        #expect(breaker.counts == (1, 1))
        #expect(self.refusal(breaker, policy, now: self.now) == nil)
    }

    @Test func `those that are being made have a limit of their own`() {
        let breaker = CircuitBreaker()
        let policy = DestinationPolicy(maxPending: 1)
        #expect(self.refusal(breaker, policy, now: self.now) == nil)
        #expect(self.refusal(breaker, policy, now: self.now) == .maxPending(1))
        breaker.established()
        #expect(self.refusal(breaker, policy, now: self.now) == nil)
        #expect(breaker.counts == (2, 1))
        breaker.ended(wasPending: true)
        breaker.ended(wasPending: false)
        #expect(breaker.counts == (0, 0))
    }

    @Test func `connects per second are a bucket, and zero is none`() {
        let breaker = CircuitBreaker()
        let policy = DestinationPolicy(connectsPerSecond: 2)
        #expect(self.refusal(breaker, policy, now: self.now) == nil)
        #expect(self.refusal(breaker, policy, now: self.now) == nil)
        #expect(self.refusal(breaker, policy, now: self.now) == .connectsPerSecond(2))
        #expect(self.refusal(breaker, policy, now: self.now + Self.second / 2) == nil)
        #expect(
            self.refusal(CircuitBreaker(), DestinationPolicy(connectsPerSecond: 0), now: self.now)
                == .connectsPerSecond(0))
        #expect(
            self.refusal(CircuitBreaker(), DestinationPolicy(maxConnections: 0), now: self.now) == .maxConnections(0))
    }

    @Test func `a refusal names the limit and its figure`() {
        #expect(CircuitBreaker.Refusal.maxConnections(7).text.contains("7 connections"))
        #expect(CircuitBreaker.Refusal.connectsPerSecond(9).text.contains("connectsPerSecond"))
        #expect(WorkloadUsage.Refusal.handshakesPerSecond(3).text.contains("3 TLS handshakes"))
    }

    @Test func `a workload's limits hold from the moment they are declared`() {
        let usage = WorkloadUsage()
        for _ in 0..<3 { #expect(self.refusal(usage, now: self.now) == nil) }
        usage.update(WorkloadLimits(maxConnections: 3))
        #expect(self.refusal(usage, now: self.now) == .maxConnections(3))
        usage.ended()
        #expect(self.refusal(usage, now: self.now) == nil)
        usage.update(nil)
        #expect(self.refusal(usage, now: self.now) == nil)
        #expect(usage.openCount == 4)
        usage.update(WorkloadLimits(connectionsPerSecond: 1))
        #expect(self.refusal(usage, now: self.now) == nil)
        #expect(self.refusal(usage, now: self.now) == .connectionsPerSecond(1))
        #expect(usage.openCount == 5)
    }

    @Test func `handshakes and bytes have their own buckets`() {
        let usage = WorkloadUsage()
        #expect(usage.wait(now: self.now) == 0)
        usage.spend(1 << 40, now: self.now)
        #expect(usage.wait(now: self.now) == 0)
        usage.update(WorkloadLimits(handshakesPerSecond: 1, bytesPerSecond: 1000))
        #expect(throws: Never.self) { try usage.admitHandshake(now: self.now) }
        #expect(throws: WorkloadUsage.Refusal.handshakesPerSecond(1)) { try usage.admitHandshake(now: self.now) }
        usage.spend(1000, now: self.now)
        #expect(usage.wait(now: self.now) > 0)
        #expect(usage.wait(now: self.now + Self.second) == 0)
    }

    @Test func `retries are a share of the connections, and some in any case`() {
        var budget = RetryBudget(percent: 20, perSecond: 10)
        func spend(_ now: UInt64) -> Int {
            var count = 0
            for _ in 0..<10_000 where budget.withdraw(now: now) { count += 1 }
            return count
        }
        // Ten seconds' worth is saved up at first.
        #expect(spend(self.now) == 100)
        #expect(spend(self.now) == 0)
        for _ in 0..<50 { budget.deposit() }
        #expect(spend(self.now) == 10)
        #expect(spend(self.now + Self.second) == 10)
        // Nothing more is saved than that, however many connections there were.
        for _ in 0..<1_000_000 { budget.deposit() }
        #expect(spend(self.now + Self.second) == 100)
        var none = RetryBudget(percent: 0, perSecond: 0)
        none.deposit()
        let isGiven = none.withdraw(now: self.now)
        #expect(!isGiven)
    }

    @Test func `a workload cannot take all pipes and large buffers`() throws {
        var blocks = BlockPool(batch: 1, lentLimit: 6, ownerLimit: 4)
        func lend(_ owner: UInt16, _ count: Int) -> [UnsafeMutablePointer<Block>] {
            blocks.owner = owner
            return (0..<count).map { _ in blocks.take() }
        }
        let greedy = lend(1, 10)
        #expect(greedy.filter(\.pointee.isLarge).count == 4)
        let modest = lend(2, 2)
        #expect(modest.filter(\.pointee.isLarge).count == 2)
        for block in greedy { blocks.give(block) }
        // Given back while another workload's turn it is, and still counted right.
        let again = lend(1, 5)
        #expect(again.filter(\.pointee.isLarge).count == 4)
        for block in modest + again { blocks.give(block) }
        #expect(blocks.lent == 0)
        blocks.isThrifty = true
        let small = lend(0, 1)
        #expect(!small[0].pointee.isLarge)
        blocks.give(small[0])

        var pipes = try PipePool(size: 4096, limit: 3, ownerLimit: 2)
        pipes.owner = 1
        let (first, second, third) = (pipes.take(for: 1), pipes.take(for: 1), pipes.take(for: 1))
        #expect(first != nil && second != nil && third == nil)
        pipes.owner = 2
        let other = pipes.take(for: 1)
        #expect(other != nil)
        for pipe in [first, second, other].compactMap(\.self) { pipes.give(pipe, isEmpty: true) }
        pipes.owner = 1
        #expect(pipes.lent == 0)
        let afterwards = [pipes.take(for: 1), pipes.take(for: 1), pipes.take(for: 1)].compactMap(\.self)
        #expect(afterwards.count == 2)
        for pipe in afterwards { pipes.give(pipe, isEmpty: false) }
        #expect(pipes.lent == 0)
    }
}
