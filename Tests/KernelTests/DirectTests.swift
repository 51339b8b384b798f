// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import MeshSteering
import Testing

extension KernelTests {
    /// A client in the sandbox's workload (key 7) and a server in its outside namespace, enrolled as key 8.
    @Suite struct Direct {
        private static let serverKey: UInt32 = 8

        private func run(_ body: (Sandbox, Cgroup) throws -> Void) throws {
            try Sandbox.run { sandbox in
                let path = sandbox.workload.path + "-server"
                try FileTree.makeDirectory(path)
                defer { rmdir(path) }
                let cgroup = try Cgroup(path: path)
                try sandbox.steering.enrol(
                    Enrolment(
                        key: Self.serverKey, id: "default/server", cgroupPath: path, namespace: sandbox.outside,
                        addresses: [TestSocket.parse("10.77.0.1:1").ip, TestSocket.parse("[fd01::1]:1").ip]))
                try sandbox.steering.setDirectPath(isOn: true, generation: 5)
                // The direct path is taken only while there is a proxy.
                let listener = try sandbox.inboundListener()
                try sandbox.steering.setInboundListeners(7, [listener.fd])
                try body(sandbox, cgroup)
                try sandbox.steering.unenrol(Self.serverKey)
            }
        }

        private func server(_ sandbox: Sandbox, _ cgroup: Cgroup, at address: String) throws -> TestSocket {
            let family = address.hasPrefix("[") ? AF_INET6 : AF_INET
            let sockets = try sandbox.applications(1, family: family, cgroup: cgroup, in: sandbox.outside)
            let socket = try #require(sockets.first)
            try socket.listen(address)
            return socket
        }

        private func target(_ sandbox: Sandbox, _ address: String, share: UInt32) throws -> DirectVerdict.Target {
            DirectVerdict.Target(
                key: Self.serverKey, address: TestSocket.parse(address),
                namespaceCookie: try sandbox.outside.cookie(), share: share)
        }

        private func allow(
            _ sandbox: Sandbox, _ dialled: String, _ targets: [(String, UInt32)], generation: UInt32 = 5
        ) throws {
            try sandbox.steering.setVerdict(
                source: 7, destination: TestSocket.parse(dialled),
                DirectVerdict(
                    generation: generation,
                    targets: try targets.map { try self.target(sandbox, $0.0, share: $0.1) }))
        }

        @Test(arguments: [
            ("240.240.0.1:80", "10.77.0.1:8080", AF_INET), ("[fd00:77::1]:80", "[fd01::1]:8080", AF_INET6),
            ("[::ffff:240.240.0.1]:80", "10.77.0.1:8080", AF_INET6),
        ])
        func goesStraightToTheServer(dialled: String, target: String, family: CInt) throws {
            try self.run { sandbox, cgroup in
                let server = try self.server(sandbox, cgroup, at: target)
                try self.allow(sandbox, dialled, [(target, 65_536)])
                let client = try sandbox.application(family: family)
                try client.connect(dialled)
                let (accepted, peer) = try server.accept()
                #expect(peer == client.local)
                #expect(accepted.peer == client.local)
                #expect(client.peer == TestSocket.parse(dialled))
                #expect(sandbox.counter(.direct) == 1)
                #expect(sandbox.counter(.inboundDirect) == 1)
                #expect(sandbox.counter(.captured) == 0)
                #expect(send(client.fd, "hello", 5, 0) == 5)
                var buffer = [UInt8](repeating: 0, count: 8)
                #expect(recv(accepted.fd, &buffer, 8, 0) == 5)

                let flow = try #require(try sandbox.steering.directFlows().first)
                #expect(flow.client == client.local)
                #expect(flow.server == TestSocket.parse(target))
                #expect(flow.dialled == TestSocket.parse(dialled))
                #expect(flow.source == 7 && flow.target == Self.serverKey && flow.generation == 5)
                #expect(flow.isEstablished && flow.isVerdict)
                #expect(flow.clientNamespace == (try sandbox.inside.cookie()))
                let port = TestSocket.parse(target).port
                let load = Steering.Load(key: Self.serverKey, port: port)
                #expect(try sandbox.steering.loads() == [load: 1])
                #expect(sandbox.steering.directOpen == 1)

                shutdown(client.fd, CInt(SHUT_RDWR))
                shutdown(accepted.fd, CInt(SHUT_RDWR))
                #expect(recv(client.fd, &buffer, 8, 0) == 0)
                #expect(try sandbox.steering.directFlows().isEmpty)
                #expect(try sandbox.steering.loads() == [load: 0])
                #expect(sandbox.steering.directOpen == 0)
            }
        }

        @Test func admitsNobodyElse() throws {
            try self.run { sandbox, cgroup in
                _ = try self.server(sandbox, cgroup, at: "10.77.0.1:8080")
                try self.allow(sandbox, "240.240.0.1:80", [("10.77.0.1:8080", 65_536)])
                // Not of the workload: nobody rewrites it, nobody admits it, and the server's proxy is not there.
                #expect(try sandbox.proxySocket().connectError("10.77.0.1:8080") == ECONNREFUSED)
                #expect(sandbox.counter(.inboundRefused) > 0)
                #expect(sandbox.counter(.direct) == 0)
            }
        }

        @Test func aRefusedConnectLeavesNothing() throws {
            try self.run { sandbox, _ in
                try self.allow(sandbox, "240.240.0.1:80", [("10.77.0.1:8099", 65_536)])
                #expect(try sandbox.application().connectError("240.240.0.1:80") == ECONNREFUSED)
                #expect(sandbox.counter(.direct) == 1)
                #expect(try sandbox.steering.directFlows().isEmpty)
                #expect(sandbox.steering.directOpen == 0)
            }
        }

        @Test func whatDoesNotCountGoesToTheProxy() throws {
            try self.run { sandbox, _ in
                let outbound = try sandbox.outboundListener()
                func dial() throws { try sandbox.application().connect("240.240.0.1:80") }
                func expectCaptured() throws {
                    try dial()
                    #expect(try sandbox.nextDestination(outbound)?.address == TestSocket.parse("240.240.0.1:80"))
                    #expect(sandbox.counter(.direct) == 0)
                }
                try expectCaptured()
                try self.allow(sandbox, "240.240.0.1:80", [("10.77.0.1:8080", 65_536)], generation: 4)
                try expectCaptured()
                #expect(sandbox.counter(.directStale) == 1)
                try self.allow(sandbox, "240.240.0.1:80", [("10.77.0.1:8080", 65_536)])
                try sandbox.steering.setDirectLimit(0)
                try expectCaptured()
                #expect(sandbox.counter(.directFull) == 1)
                try sandbox.steering.setDirectPath(isOn: false, generation: 5)
                try expectCaptured()
                try sandbox.steering.setDirectPath(isOn: true, generation: 5)
                // Of the other family.
                try self.allow(sandbox, "240.240.0.1:80", [("[fd01::1]:8080", 65_536)])
                try expectCaptured()
                try self.allow(sandbox, "240.240.0.1:80", [("10.77.0.1:8080", 0)])
                try expectCaptured()
                try sandbox.steering.setVerdict(
                    source: 7, destination: TestSocket.parse("240.240.0.1:80"), nil)
                try expectCaptured()
            }
        }

        @Test func withoutAProxyNothingIsDirect() throws {
            try self.run { sandbox, cgroup in
                _ = try self.server(sandbox, cgroup, at: "10.77.0.1:8080")
                try self.allow(sandbox, "240.240.0.1:80", [("10.77.0.1:8080", 65_536)])
                try sandbox.steering.setInboundListeners(7, [])
                #expect(try sandbox.application().connectError("240.240.0.1:80") == ECONNREFUSED)
                #expect(sandbox.counter(.direct) == 0)
            }
        }

        @Test func spreadsByShareAndLoad() throws {
            try self.run { sandbox, cgroup in
                let outbound = try sandbox.outboundListener()
                let servers = try ["10.77.0.1:8081", "10.77.0.1:8082"].map {
                    try self.server(sandbox, cgroup, at: $0)
                }
                // A quarter each, and half to the proxy.
                try self.allow(sandbox, "240.240.0.1:80", [("10.77.0.1:8081", 16_384), ("10.77.0.1:8082", 16_384)])
                let clients = try sandbox.applications(400)
                for client in clients { try client.connect("240.240.0.1:80") }
                let direct = Int(sandbox.counter(.direct))
                #expect((140...260).contains(direct))
                #expect(Int(sandbox.counter(.captured)) == 400 - direct)
                let loads = try sandbox.steering.loads()
                let open = [8081, 8082].map { loads[Steering.Load(key: Self.serverKey, port: $0)] ?? 0 }
                #expect(open[0] + open[1] == direct)
                #expect(abs(open[0] - open[1]) < 60)
                withExtendedLifetime((outbound, servers)) {}
            }
        }

        @Test func aClosedLeftoverIsReplaced() throws {
            try self.run { sandbox, cgroup in
                let server = try self.server(sandbox, cgroup, at: "10.77.0.1:8080")
                try self.allow(sandbox, "240.240.0.1:80", [("10.77.0.1:8080", 65_536)])
                let client = TestSocket.parse("10.77.0.2:40123")
                // As if the programs had been taken away under an earlier connection of these ports.
                try sandbox.steering.admitProbe(
                    from: client, to: TestSocket.parse("10.77.0.1:8080"),
                    namespaceCookie: try sandbox.outside.cookie(), isOn: true)
                let socket = try sandbox.application()
                try socket.bind("10.77.0.2:40123")
                try socket.connect("240.240.0.1:80")
                #expect(try server.accept().peer == client)
                #expect(sandbox.counter(.directLost) == 0)
                #expect(try sandbox.steering.directFlows().map(\.isVerdict) == [true])
            }
        }

        @Test func aProbeIsAdmittedOnce() throws {
            try self.run { sandbox, cgroup in
                let server = try self.server(sandbox, cgroup, at: "10.77.0.1:8080")
                let cookie = try sandbox.outside.cookie()
                let (from, to) = (TestSocket.parse("10.77.0.2:40124"), TestSocket.parse("10.77.0.1:8080"))
                let probe = try sandbox.proxySocket()
                try probe.bind("10.77.0.2:40124")
                try sandbox.steering.admitProbe(from: from, to: to, namespaceCookie: cookie, isOn: true)
                try probe.connect(to)
                #expect(try server.accept().peer == from)
                #expect(sandbox.counter(.inboundProbe) == 1)
                try sandbox.steering.admitProbe(from: from, to: to, namespaceCookie: cookie, isOn: false)
                #expect(sandbox.entries("nm_direct") == 0)
            }
        }
    }
}
