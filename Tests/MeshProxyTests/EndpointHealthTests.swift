// SPDX-License-Identifier: Apache-2.0
import MeshModel
import Testing

@testable import MeshProxy

@Suite struct EndpointHealthTests {
    private static let second: UInt64 = 1_000_000_000
    private let policy = OutlierDetection(
        consecutiveFailures: 3, baseEjectionTime: .seconds(10), maxEjectionTime: .seconds(35), maxEjectionPercent: 50)

    /// Fails until it is to be set aside.
    private func failures(
        _ health: inout EndpointHealth, _ stage: EndpointHealth.Stage = .connecting, now: UInt64
    ) -> Int {
        for count in 1...10 where health.failed(stage, self.policy, now: now) { return count }
        return 0
    }

    @Test(arguments: [EndpointHealth.Stage.connecting, .answering])
    func `failures in a row set it aside, a success between them begins anew`(stage: EndpointHealth.Stage) {
        var health = EndpointHealth()
        for _ in 0..<5 {
            for _ in 0..<2 {
                let isOut = health.failed(stage, self.policy, now: 1)
                #expect(!isOut)
            }
            #expect(health.hasFailures)
            health.succeeded(stage)
            #expect(!health.hasFailures)
        }
        #expect(self.failures(&health, stage, now: 1) == 3)
    }

    @Test func `accepting connections does not excuse resetting them`() {
        var health = EndpointHealth()
        for count in 1...3 {
            health.succeeded(.connecting)
            let isOut = health.failed(.answering, self.policy, now: 1)
            #expect(isOut == (count == 3))
        }
    }

    @Test func `each absence in a row is longer, up to a limit, and good times make up for it`() {
        var health = EndpointHealth()
        var now = Self.second
        for expected in [10, 20, 30, 35, 35] as [UInt64] {
            _ = self.failures(&health, now: now)
            health.eject(.connecting, self.policy, now: now)
            #expect(health.ejectedUntil - now == expected * Self.second)
            now = health.ejectedUntil
        }
        // Well for two base times: two absences are forgiven, of the three that count at most.
        now += 20 * Self.second
        health.eject(.connecting, self.policy, now: now)
        #expect(health.ejectedUntil - now == 20 * Self.second)
        now = health.ejectedUntil + 1000 * Self.second
        health.eject(.connecting, self.policy, now: now)
        #expect(health.ejectedUntil - now == 10 * Self.second && health.ejections == 1)
    }

    @Test func `after its return one failure is enough, until it has proved itself`() {
        var health = EndpointHealth()
        health.eject(.connecting, self.policy, now: Self.second)
        // What still fails while it is away does not count.
        let isOutAgain = health.failed(.connecting, self.policy, now: 2 * Self.second)
        #expect(!isOutAgain)
        let back = health.ejectedUntil
        var relapsed = health
        #expect(self.failures(&relapsed, now: back) == 1)
        health.succeeded(.answering)
        #expect(health.hasFailures)
        health.succeeded(.connecting)
        #expect(!health.hasFailures)
        #expect(self.failures(&health, now: back) == 3)
    }

    @Test func `it gets its share back slowly`() {
        let share = { (now: UInt64) in
            EndpointHealth.availability(ejectedUntil: 100 * Self.second, now: now * Self.second)
        }
        #expect(EndpointHealth.availability(ejectedUntil: 0, now: 5) == 1000)
        #expect(share(50) == 0)
        #expect(share(100) == 100)
        #expect(share(105) == 550)
        #expect(share(110) == 1000)
        #expect(share(100_000) == 1000)
    }

    @Test func `no failures at all is a policy too`() {
        var health = EndpointHealth()
        for _ in 0..<100 {
            let isOut = health.failed(.connecting, OutlierDetection(consecutiveFailures: 0), now: 1)
            #expect(!isOut)
        }
    }

    @Test func `absurd times do not trap`() {
        var health = EndpointHealth()
        let policy = OutlierDetection(
            consecutiveFailures: 1, baseEjectionTime: .seconds(Int64.max), maxEjectionTime: .zero)
        for _ in 0..<3 { health.eject(.answering, policy, now: .max - 5) }
    }

    // MARK: - The share that may be set aside

    private func key(_ name: String) -> EndpointTable.Key {
        EndpointTable.Key(
            service: NamespacedName(namespace: "prod", name: "api"), port: 80,
            workload: WorkloadID(namespace: "prod", name: name),
            address: SocketAddress(ip: IPAddress(ipv4: 0x0a00_0001), port: 80))
    }

    /// How many of `total` can be set aside.
    private func most(of total: Int, percent: UInt32) -> Int {
        var list = EjectionList()
        var policy = self.policy
        policy.maxEjectionPercent = percent
        var count = 0
        for index in 0..<total where list.mayEject(of: total, policy, now: 1) {
            list.add(self.key("e\(index)"), until: 10)
            count += 1
        }
        return count
    }

    @Test func `only a share may be set aside, one in any case, and never the only one`() {
        #expect(self.most(of: 1, percent: 100) == 0)
        #expect(self.most(of: 2, percent: 10) == 1)
        #expect(self.most(of: 10, percent: 10) == 1)
        #expect(self.most(of: 10, percent: 0) == 1)
        #expect(self.most(of: 10, percent: 35) == 3)
        #expect(self.most(of: 10, percent: 100) == 10)
        #expect(self.most(of: 10, percent: 4_000_000_000) == 10)
    }

    @Test func `who is back makes room for another`() {
        var list = EjectionList()
        list.add(self.key("a"), until: 10)
        let before = list.mayEject(of: 4, OutlierDetection(maxEjectionPercent: 25), now: 9)
        let after = list.mayEject(of: 4, OutlierDetection(maxEjectionPercent: 25), now: 10)
        #expect(!before && after)
        list.add(self.key("b"), until: 20)
        list.remove(self.key("b"))
        let gone = list.mayEject(of: 4, OutlierDetection(maxEjectionPercent: 25), now: 11)
        #expect(gone)
    }
}
