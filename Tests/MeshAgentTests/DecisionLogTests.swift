// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshModel
import MeshTelemetry
import Synchronization
import Testing

@testable import MeshAgent

@Suite struct DecisionLogTests {
    private final class Hand: Sendable {
        let now = Mutex<Int64>(1000)
    }

    private let hand = Hand()

    private func log(limit: Int = 8, reportLimit: Int = 8) -> DecisionLog {
        DecisionLog(registry: MetricsRegistry(), limit: limit, reportLimit: reportLimit) { [hand = self.hand] in
            hand.now.withLock { $0 }
        }
    }

    private func record(_ reason: PolicyDecision.Reason?, port: UInt16 = 80, from client: UInt16 = 1)
        -> ConnectionRecord
    {
        let server = SocketAddress(ip: IPAddress(ipv4: 2), port: port)
        var record = ConnectionRecord(
            id: 1, direction: .inbound, sourceAddress: SocketAddress(ip: IPAddress(ipv4: 1), port: client),
            destination: server, openedAt: 0)
        record.destinationWorkload = WorkloadID(namespace: "shop", name: "api")
        record.upstream = server
        if let reason { record.note(.init(isAllowed: reason.isAllowed, reason: reason)) }
        return record
    }

    @Test func eachConnectionCountsOnce() throws {
        let log = self.log()
        #expect(log.next() == nil)
        // Opened and ended; its client's port is no difference.
        log.opened(self.record(.noPolicies))
        log.closed(self.record(.noPolicies))
        self.hand.now.withLock { $0 = 1060 }
        log.opened(self.record(.matchedAllow, from: 7))
        // Denied: it never opens.
        log.closed(self.record(.matchedDeny))
        // Not decided here.
        log.opened(self.record(nil))
        log.closed(self.record(nil))
        let report = try #require(log.next())
        #expect(report.dropped == 0)
        #expect(report.connections.count == 2)
        let tallies = Dictionary(uniqueKeysWithValues: report.connections.map { ($0.key.isDenied, $0.value) })
        #expect(tallies[false] == DecidedTally(count: 2, first: 1000, last: 1060))
        #expect(tallies[true] == DecidedTally(count: 1, first: 1060, last: 1060))
    }

    @Test func aReportIsRepeatedUntilItArrives() throws {
        let log = self.log()
        log.opened(self.record(.noPolicies))
        let first = try #require(log.next())
        log.opened(self.record(.noPolicies))
        #expect(log.next() == first)
        #expect(!log.arrived(first))
        let second = try #require(log.next())
        #expect(second.sequence == first.sequence + 1)
        #expect(second.connections.values.map(\.count) == [1])
        _ = log.arrived(second)
        #expect(log.next() == nil)
    }

    @Test func whatThereIsNoRoomForIsCounted() throws {
        let log = self.log(limit: 4, reportLimit: 2)
        for port in 1...6 { log.opened(self.record(.noPolicies, port: UInt16(port))) }
        // Known ones still count.
        log.opened(self.record(.noPolicies, port: 1))
        let first = try #require(log.next())
        #expect(first.connections.count == 2)
        #expect(first.dropped == 2)
        #expect(log.arrived(first))
        let second = try #require(log.next())
        #expect(second.dropped == 0)
        #expect(Set(second.connections.keys).isDisjoint(with: first.connections.keys))
        #expect((first.connections.merging(second.connections) { $1 }).values.reduce(0) { $0 + $1.count } == 5)
    }

    @Test func reportsGoOutWhileTheSessionLastsAndBackOff() async throws {
        let (plane, clock, log) = (FakeControlPlane(), ManualClock(), self.log())
        let reporter = DecisionReporter(log: log, clock: clock, logger: Logger(label: "test"))
        plane.state.withLock { $0.losesReports = true }
        log.opened(self.record(.noPolicies))
        let running = Task { await reporter.run(plane) }
        #expect(await clock.advance { plane.state.withLock { $0.decisionReports.count } == 3 })
        plane.state.withLock { $0.losesReports = false }
        #expect(await clock.advance { plane.state.withLock { $0.decisionReports.count } == 4 })
        // The same one each time, so that it counts once however often it arrived.
        #expect(plane.state.withLock { Set($0.decisionReports.map(\.report.sequence)) } == [1])
        #expect(plane.state.withLock { Set($0.decisionReports.map(\.run)) } == [log.run])
        log.opened(self.record(.noPolicies))
        #expect(await clock.advance { plane.state.withLock { $0.decisionReports.last?.report.sequence } == 2 })
        running.cancel()
        await running.value
    }
}
