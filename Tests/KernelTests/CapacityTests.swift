// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import MeshSteering
import Testing

extension KernelTests {
    /// What happens when a map is full: refused with a reason, never clear text.
    @Suite struct Capacity {
        private func code(_ body: () throws(SteeringError) -> Void) -> SteeringError.Code? {
            do throws(SteeringError) {
                try body()
                return nil
            } catch {
                return error.code
            }
        }

        @Test func tooManyWorkloadsAreRefusedAndLeaveNothing() throws {
            var capacities = Sandbox.capacities
            capacities.workloads = 1
            try Sandbox.run(capacities: capacities) { sandbox in
                let other = try sandbox.cgroup("other")
                let enrolment = Enrolment(
                    key: 8, id: "default/other", cgroupPath: other.path, namespace: sandbox.outside, addresses: [])
                #expect(self.code { () throws(SteeringError) in try sandbox.steering.enrol(enrolment) } == .capacity)
                #expect(sandbox.steering.enrolled().map(\.key) == [7])
                #expect(sandbox.entries("nm_enrolled") == 1)
                #expect(sandbox.entries("nm_namespaces") == 1)
            }
        }

        @Test func aPortThatDoesNotFitIsReachedByNobody() throws {
            var capacities = Sandbox.capacities
            capacities.ports = 1
            try Sandbox.run(isEnrolled: false, capacities: capacities) { sandbox in
                let inbound = try sandbox.inboundListener()
                try sandbox.enrol(inboundListeners: [inbound]) { $0.isShared = true }
                let (steering, cookie) = (sandbox.steering, try sandbox.inside.cookie())
                let first = try sandbox.application()
                try first.listen("0.0.0.0:8080")
                let second = try sandbox.application()
                try second.listen("0.0.0.0:8081")
                #expect(try steering.ports(cookie) == [8080: 7, 8081: 0])
                #expect(try sandbox.stranger().connectError("10.77.0.2:8081") == ECONNREFUSED)
                #expect(try sandbox.proxySocket().connectError("127.0.0.1:8081") == ECONNREFUSED)
                try sandbox.stranger().connect("10.77.0.2:8080")
                #expect(sandbox.counter(.portLost) == 3)
                let set = { () throws(SteeringError) in try steering.setPort(8081, of: cookie, 7) }
                #expect(self.code(set) == .capacity)
                try steering.removePort(8080, of: cookie)
                #expect(self.code(set) == nil)
                #expect(try steering.ports(cookie) == [8081: 7])
                try sandbox.stranger().connect("10.77.0.2:8081")
            }
        }

        @Test func exclusionsThatDoNotFitStayCaptured() throws {
            var capacities = Sandbox.capacities
            capacities.exclusions = 1
            try Sandbox.run(prefixes: ["10.77.0.0/24"], capacities: capacities) { sandbox in
                let steering = sandbox.steering
                #expect(
                    self.code { () throws(SteeringError) in
                        try steering.setExclusions(prefixes: [], outboundPorts: [1, 2], inboundPorts: [])
                    } == .capacity)
                let client = try sandbox.application()
                #expect(client.connectError("10.77.0.1:3") == ECONNREFUSED)
                #expect(sandbox.counter(.captured) == 1)
            }
        }

        @Test func localConnectionsThatDoNotFitGoToTheProxyUnnamed() throws {
            var capacities = Sandbox.capacities
            capacities.direct = 1
            try Sandbox.run(isEnrolled: false, capacities: capacities) { sandbox in
                let (neighbour, inbound) = (try sandbox.cgroup("neighbour"), try sandbox.inboundListener())
                try sandbox.enrol(inboundListeners: [inbound]) { $0.isShared = true }
                try sandbox.enrol(key: 8, cgroup: neighbour) { $0.isShared = true }
                let server = try sandbox.application()
                try server.listen("0.0.0.0:8080")
                // Nobody accepts: the record of the first stays.
                let probe = try sandbox.cgroup("probe")
                try sandbox.steering.setProbeCgroups([probe.path])
                let first = try sandbox.application(cgroup: probe)
                try first.connect("127.0.0.1:8080")
                try sandbox.application(cgroup: neighbour).connect("127.0.0.1:8080")
                let (accepted, _) = try inbound.accept()
                let origin = sandbox.steering.inboundOrigin(of: accepted.fd)
                #expect(origin == InboundOrigin(workloadKey: 7, sourceKey: nil))
                #expect(sandbox.counter(.directLost) == 1)
                #expect(sandbox.entries("nm_direct") == 1)
            }
        }

        @Test func prefixesThatDoNotFitAreCoveredByWiderOnes() throws {
            var capacities = Sandbox.capacities
            capacities.prefixes = 2
            try Sandbox.run(capacities: capacities) { sandbox in
                let prefixes = ["10.1.0.0/16", "10.2.0.0/16", "240.240.0.0/16", "fd00:1::/32", "fd00:2::/32"]
                try sandbox.steering.setPrefixes(prefixes.compactMap { IPPrefix($0) })
                #expect(sandbox.entries("nm_prefixes") == 2)
                for address in ["10.1.0.1:80", "10.2.0.1:80", "240.240.0.1:80"] {
                    #expect(try sandbox.application().connectError(address) == ECONNREFUSED)
                }
                #expect(sandbox.counter(.captured) == 3)
                #expect(try sandbox.application(family: AF_INET6).connectError("[fd00:2::1]:80") == ECONNREFUSED)
                #expect(sandbox.counter(.ipv6Refused) == 1)
                try sandbox.steering.setPrefixes(prefixes.prefix(1).compactMap { IPPrefix($0) })
                #expect(sandbox.entries("nm_prefixes") == 1)
            }
        }

        @Test func pressureOnTheTableOfConnectsMistakesNone() throws {
            var capacities = Sandbox.capacities
            capacities.flows = 16
            try Sandbox.run(capacities: capacities) { sandbox in
                let listener = try sandbox.outboundListener()
                let clients = try sandbox.applications(300)
                var wanted: [SocketAddress: SocketAddress] = [:]
                for (index, client) in clients.enumerated() {
                    let address = TestSocket.parse("240.240.\(index / 250).\(index % 250 + 1):80")
                    client.setNonBlocking()
                    _ = try? client.connect(address)
                    wanted[try #require(client.local)] = address
                }
                for _ in clients {
                    let (accepted, peer) = try listener.accept()
                    let origin = sandbox.steering.originalDestination(of: accepted.fd)
                    let expected = wanted[try #require(peer)]
                    #expect(origin == nil || origin?.address == expected)
                }
                #expect(sandbox.counter(.originDelivered) + sandbox.counter(.originMissing) == 300)
            }
        }
    }
}
