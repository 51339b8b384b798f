// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import MeshSteering
import Testing

extension KernelTests {
    /// Two workloads, keys 7 and 8, in one namespace with others, as on a host.
    @Suite struct Shared {
        private struct Host {
            let sandbox: Sandbox
            let neighbour: Cgroup
            let inbound: TestSocket
            let cookie: UInt64

            func server(_ address: String, cgroup: Cgroup? = nil, family: CInt = AF_INET) throws -> TestSocket {
                let server = try self.sandbox.application(family: family, cgroup: cgroup)
                try server.listen(address)
                return server
            }

            /// A process of the host that is no workload: the test itself.
            func bystander() throws -> TestSocket { try self.sandbox.proxySocket() }

            func ports() throws -> [UInt16: UInt32] { try self.sandbox.steering.ports(self.cookie) }

            /// What the proxy learns of the next connection steered to it.
            func nextOrigin() throws -> (origin: InboundOrigin?, local: SocketAddress?) {
                let (accepted, _) = try self.inbound.accept()
                return (self.sandbox.steering.inboundOrigin(of: accepted.fd), accepted.local)
            }
        }

        private func run(
            prefixes: [String] = ["240.240.0.0/16"], failMode: SteeringConfiguration.FailMode = .closed,
            _ body: (Host) throws -> Void
        ) throws {
            try Sandbox.run(failMode: failMode, prefixes: prefixes, isEnrolled: false) { sandbox in
                let neighbour = try sandbox.cgroup("neighbour")
                let inbound = try sandbox.inboundListener()
                try sandbox.enrol(inboundListeners: [inbound]) { $0.isShared = true }
                try sandbox.enrol(key: 8, cgroup: neighbour) { $0.isShared = true }
                try body(
                    Host(
                        sandbox: sandbox, neighbour: neighbour, inbound: inbound, cookie: sandbox.inside.cookie()))
            }
        }

        @Test func onlyPortsOfWorkloadsAreSteered() throws {
            try self.run { host in
                let own = try host.server("0.0.0.0:8080")
                let other = try host.server("0.0.0.0:8081", cgroup: host.neighbour)
                let foreign = try host.bystander()
                try foreign.listen("0.0.0.0:8082")
                #expect(try host.ports() == [8080: 7, 8081: 8])
                for (port, key) in [(8080, UInt32(7)), (8081, 8)] {
                    try host.sandbox.stranger().connect("10.77.0.2:\(port)")
                    let (origin, local) = try host.nextOrigin()
                    #expect(origin == InboundOrigin(workloadKey: key, sourceKey: nil))
                    #expect(local == TestSocket.parse("10.77.0.2:\(port)"))
                }
                try host.sandbox.stranger().connect("10.77.0.2:8082")
                _ = try foreign.accept()
                #expect(host.sandbox.counter(.inboundUnowned) >= 1)
                #expect(host.sandbox.counter(.inboundSteered) == 2)
                _ = (own, other)
            }
        }

        @Test(arguments: ["127.0.0.1:8080", "10.77.0.2:8080"])
        func otherProcessesOfTheHostAreSteeredToo(address: String) throws {
            try self.run { host in
                let server = try host.server("0.0.0.0:8080")
                try host.bystander().connect(address)
                #expect(try host.nextOrigin().origin == InboundOrigin(workloadKey: 7, sourceKey: nil))
                _ = server
            }
        }

        @Test(arguments: ["127.0.0.1:8080", "10.77.0.2:8080", "127.0.0.2:8080"])
        func aNeighbourIsKnownAndAWorkloadReachesItself(address: String) throws {
            try self.run { host in
                let server = try host.server("0.0.0.0:8080")
                try host.sandbox.application(cgroup: host.neighbour).connect(address)
                #expect(try host.nextOrigin().origin == InboundOrigin(workloadKey: 7, sourceKey: 8))
                let client = try host.sandbox.application()
                try client.connect(address)
                let (_, peer) = try server.accept()
                #expect(peer == client.local)
                #expect(host.sandbox.counter(.inboundSteered) == 1)
                #expect(host.sandbox.counter(.inboundLocal) == 1)
                #expect(host.sandbox.entries("nm_direct") == 0)
            }
        }

        @Test func theProxyReachesTheApplicationWhichSeesItsClient() throws {
            try self.run { host in
                let server = try host.server("127.0.0.1:8080")
                let client = try host.sandbox.application(cgroup: host.neighbour)
                try client.connect("127.0.0.1:8080")
                #expect(try host.nextOrigin().origin?.sourceKey == 8)
                let leg = try host.sandbox.proxySocket()
                #expect(host.sandbox.steering.setRealClient(on: leg.fd, client: try #require(client.local)))
                try leg.connect("127.0.0.1:8080")
                let (_, shown) = try server.accept()
                #expect(shown == client.local)
                #expect(host.sandbox.entries("nm_proxied") == 0)
            }
        }

        @Test func whatListensOnLoopbackOnlyIsNotExposed() throws {
            try self.run { host in
                let server = try host.server("127.0.0.1:8080")
                try host.sandbox.stranger().connect("10.77.0.2:8080")
                let (accepted, _) = try host.inbound.accept()
                let leg = try host.sandbox.proxySocket()
                #expect(host.sandbox.steering.setRealClient(on: leg.fd, client: TestSocket.parse("10.77.0.1:1")))
                #expect(leg.connectError("10.77.0.2:8080") == ECONNREFUSED)
                _ = (server, accepted)
            }
        }

        @Test func nodemeshdsOwnConnectsAreNotTheProxys() throws {
            try self.run { host in
                let server = try host.bystander()
                try server.listen("0.0.0.0:15008")
                try host.bystander().connect("10.77.0.2:15008")
                let (accepted, _) = try server.accept()
                #expect(host.sandbox.steering.inboundOrigin(of: accepted.fd) == nil)
                #expect(host.sandbox.entries("nm_proxied") == 0)
                #expect(host.sandbox.counter(.proxyConnect) == 0)
            }
        }

        @Test func aPortIsOwnedAsLongAsOneOfItsListenersLives() throws {
            try self.run { host in
                let first = try host.server("0.0.0.0:8080")
                do {
                    _ = try host.server("0.0.0.0:8080")
                    #expect(try host.ports() == [8080: 7])
                }
                try host.bystander().connect("127.0.0.1:8080")
                #expect(try host.nextOrigin().origin?.workloadKey == 7)
                shutdown(first.fd, CInt(SHUT_RDWR))
                let foreign = try host.bystander()
                try foreign.listen("0.0.0.0:8080")
                try host.bystander().connect("127.0.0.1:8080")
                _ = try foreign.accept()
            }
        }

        @Test func acceptedConnectionsDoNotEndTheOwnership() throws {
            try self.run { host in
                let server = try host.server("0.0.0.0:8080")
                for _ in 0..<3 {
                    let client = try host.sandbox.application()
                    try client.connect("127.0.0.1:8080")
                    _ = try server.accept()
                }
                #expect(try host.ports() == [8080: 7])
                try host.bystander().connect("127.0.0.1:8080")
                #expect(try host.nextOrigin().origin?.workloadKey == 7)
            }
        }

        @Test func portsFoundByTheDaemonHoldUntilRemoved() throws {
            try self.run { host in
                let steering = host.sandbox.steering
                let server = try host.bystander()
                try server.listen("0.0.0.0:8080")
                try steering.setPort(8080, of: host.cookie, 8)
                try host.bystander().connect("127.0.0.1:8080")
                #expect(try host.nextOrigin().origin?.workloadKey == 8)
                try steering.removePort(8080, of: host.cookie)
                #expect(try host.ports().isEmpty)
                try host.bystander().connect("127.0.0.1:8080")
                _ = try server.accept()
            }
        }

        @Test func aPortChangesHands() throws {
            try self.run { host in
                do {
                    _ = try host.server("0.0.0.0:8080")
                }
                let server = try host.server("0.0.0.0:8080", cgroup: host.neighbour)
                try host.bystander().connect("127.0.0.1:8080")
                #expect(try host.nextOrigin().origin?.workloadKey == 8)
                _ = server
            }
        }

        @Test func ownAddressesAreToldByPort() throws {
            try self.run(prefixes: ["10.77.0.0/24"]) { host in
                let outbound = try host.sandbox.outboundListener()
                let (own, foreign) = (try host.server("0.0.0.0:8080"), try host.bystander())
                try foreign.listen("0.0.0.0:8082")
                try host.sandbox.application(cgroup: host.neighbour).connect("10.77.0.2:8080")
                let destination = try host.sandbox.nextDestination(outbound)
                #expect(destination == OriginalDestination(address: TestSocket.parse("10.77.0.2:8080"), workloadKey: 8))
                try host.sandbox.application().connect("10.77.0.2:8080")
                _ = try own.accept()
                try host.sandbox.application().connect("10.77.0.2:8082")
                _ = try foreign.accept()
                #expect(host.sandbox.counter(.captured) == 1)
                #expect(host.sandbox.counter(.selfBypassed) == 2)
            }
        }

        @Test func theyShareOneLinkAndTheLastOneTakesItAway() throws {
            try self.run { host in
                let (steering, layout) = (host.sandbox.steering, host.sandbox.namespacePins)
                let server = try host.server("0.0.0.0:8081", cgroup: host.neighbour)
                #expect(try FileTree.names(in: layout) == ["\(host.cookie)"])
                #expect(host.sandbox.entries("nm_namespaces") == 1)
                #expect(host.sandbox.entries("nm_listeners") == 1)
                try steering.unenrol(7)
                try host.bystander().connect("127.0.0.1:8081")
                #expect(try host.nextOrigin().origin?.workloadKey == 8)
                try steering.unenrol(8)
                #expect(try FileTree.names(in: layout) == [])
                #expect(try host.ports().isEmpty)
                for map in ["nm_namespaces", "nm_listeners", "nm_ports", "nm_enrolled"] {
                    #expect(host.sandbox.entries(map) == 0, "\(map)")
                }
                try host.bystander().connect("127.0.0.1:8081")
                _ = try server.accept()
            }
        }

        @Test func failModesOfNeighboursDiffer() throws {
            try self.run { host in
                let own = try host.server("0.0.0.0:8080")
                let other = try host.server("0.0.0.0:8081", cgroup: host.neighbour)
                try host.sandbox.enrol(key: 8, cgroup: host.neighbour) {
                    $0.isShared = true
                    $0.failMode = .open
                }
                try host.sandbox.steering.setInboundListeners(7, [])
                #expect(try host.bystander().connectError("127.0.0.1:8080") == ECONNREFUSED)
                try host.bystander().connect("127.0.0.1:8081")
                _ = try other.accept()
                #expect(host.sandbox.counter(.inboundFailedOpen) == 1)
                _ = own
            }
        }

        @Test func aRestartKeepsPortsAndOwners() throws {
            try self.run { host in
                let server = try host.server("0.0.0.0:8080")
                host.sandbox.stop()
                try host.sandbox.start()
                #expect(try host.ports() == [8080: 7])
                try host.bystander().connect("127.0.0.1:8080")
                #expect(try host.nextOrigin().origin?.workloadKey == 7)
                try host.sandbox.enrol { $0.isShared = true }
                try host.sandbox.steering.pruneStale()
                #expect(try host.ports() == [8080: 7])
                try host.bystander().connect("127.0.0.1:8080")
                #expect(try host.nextOrigin().origin?.workloadKey == 7)
                _ = server
            }
        }

        @Test func theDaemonsOwnNamespaceCanBeShared() throws {
            try Sandbox.run(isEnrolled: false) { sandbox in
                let home = try NetworkNamespace.ofProcess()
                try sandbox.enrol {
                    $0.namespace = home
                    $0.addresses = []
                    $0.isShared = true
                }
                let server = try sandbox.application(in: home)
                try server.listen("127.0.0.1:0")
                let port = try #require(server.local?.port)
                #expect(try sandbox.steering.ports(home.cookie()) == [port: 7])
                let bystander = try sandbox.stranger()
                _ = bystander
                // Nobody serves it: closed, also over loopback.
                let client = try home.run { () throws(SystemError) in
                    let fd = try systemCall("socket") { Glibc.socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0) }
                    return TestSocket(fd: fd, family: AF_INET)
                }
                #expect(client.connectError("127.0.0.1:\(port)") == ECONNREFUSED)
                #expect(sandbox.counter(.inboundRefused) == 1)
            }
        }

        @Test func ownAndSharedDoNotMix() throws {
            try self.run { host in
                let third = try host.sandbox.cgroup("third")
                do throws(SteeringError) {
                    let enrolment = Enrolment(
                        key: 9, id: "default/third", cgroupPath: third.path, namespace: host.sandbox.inside,
                        addresses: [])
                    try host.sandbox.steering.enrol(enrolment)
                    Issue.record("enrolled as if it were alone")
                } catch {
                    #expect(error.code == .conflict)
                }
            }
        }
    }
}
