// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import MeshSteering
import Synchronization
import Testing

extension KernelTests {
    @Suite struct Events {
        private final class Collector: Sendable {
            private let events = Mutex<[SteeringEvent]>([])
            func take(_ event: SteeringEvent) { self.events.withLock { $0.append(event) } }

            /// The events, once there are `count` of them.
            func wait(_ count: Int) throws -> [SteeringEvent] {
                for _ in 0..<500 {
                    let events = self.events.withLock { $0 }
                    if events.count >= count { return events }
                    usleep(10_000)
                }
                throw SystemError(call: "events", errno: ETIMEDOUT)
            }
        }

        @Test func refusalsAndBypassesAreAnnounced() throws {
            try Sandbox.run(prefixes: ["10.77.0.0/24", "fd00:77::/32"]) { sandbox in
                let collector = Collector()
                let reader = try sandbox.steering.events { collector.take($0) }
                let start = Clock.wall
                let client = try sandbox.application(family: AF_INET6)
                #expect(client.connectError("[fd00:77::1]:80") == ECONNREFUSED)
                let refused = try #require(try collector.wait(1).first)
                #expect(refused.kind == .decision)
                #expect(refused.reason == .ipv6Refused)
                #expect(refused.workloadKey == 7)
                #expect(refused.source == nil)
                #expect(refused.destination == TestSocket.parse("[fd00:77::1]:80"))
                #expect(refused.cookie != 0)
                let now = Clock.wall
                #expect(refused.time + 10_000_000 >= start && refused.time <= now + 10_000_000)

                let server = try sandbox.application()
                try server.listen("0.0.0.0:8080")
                try sandbox.application().connect("10.77.0.2:8080")
                #expect(try collector.wait(2)[1].reason == .selfBypassed)

                let stranger = try sandbox.stranger()
                try stranger.bind("10.77.0.1:5555")
                #expect(stranger.connectError("10.77.0.2:8080") == ECONNREFUSED)
                let inbound = try collector.wait(3)[2]
                #expect(inbound.reason == .inboundRefused)
                #expect(inbound.workloadKey == 7)
                #expect(inbound.source == TestSocket.parse("10.77.0.1:5555"))
                #expect(inbound.destination == TestSocket.parse("10.77.0.2:8080"))
                let cookie = try sandbox.inside.cookie()
                #expect(inbound.netns == cookie)
                reader.stop()
                #expect(sandbox.counter(.eventLost) == 0)
            }
        }

        @Test func whatHappenedWithoutAReaderIsReadLater() throws {
            try Sandbox.run { sandbox in
                _ = try sandbox.application(family: AF_INET6).connectError("[fd00:77::1]:80")
                sandbox.stop()
                try sandbox.start()
                let collector = Collector()
                let reader = try sandbox.steering.events { collector.take($0) }
                #expect(try collector.wait(1).map(\.reason) == [.ipv6Refused])
                reader.stop()
                // The next reader goes on where this one ended.
                let next = Collector()
                let second = try sandbox.steering.events { next.take($0) }
                _ = try sandbox.application(family: AF_INET6).connectError("[fd00:77::2]:80")
                #expect(try next.wait(1).map(\.destination) == [TestSocket.parse("[fd00:77::2]:80")])
                second.stop()
            }
        }

        @Test func aFullRingLosesEventsAndSaysSo() throws {
            var capacities = Sandbox.capacities
            capacities.eventBytes = 4_096
            try Sandbox.run(capacities: capacities) { sandbox in
                for client in try sandbox.applications(64, family: AF_INET6) {
                    #expect(client.connectError("[fd00:77::1]:80") == ECONNREFUSED)
                }
                let lost = sandbox.counter(.eventLost)
                #expect(lost > 0)
                #expect(sandbox.counter(.ipv6Refused) == 64)
                let collector = Collector()
                let reader = try sandbox.steering.events { collector.take($0) }
                #expect(try collector.wait(64 - Int(lost)).count == 64 - Int(lost))
                // And there is room again.
                _ = try sandbox.application(family: AF_INET6).connectError("[fd00:77::2]:80")
                let last = try collector.wait(65 - Int(lost)).last
                #expect(last?.destination == TestSocket.parse("[fd00:77::2]:80"))
                reader.stop()
            }
        }
    }
}
