// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import Glibc
import MeshLinux
import MeshModel
import Testing

@testable import MeshSteering

extension KernelTests {
    /// Direct connections between veths whose other ends are in a host's namespace, which bridges or routes:
    ///
    ///     client eth1 --- h1 (host) h2 --- eth1 server
    ///
    /// The programs of somebody else count what comes from the client, and what the host sends to the server.
    @Suite struct Redirect {
        enum Topology: CaseIterable { case bridged, routed }

        private static let serverKey: UInt32 = 8
        private static let rounds: UInt64 = 100

        private struct Bench {
            let host: NetworkNamespace
            let client: VethPair
            let server: VethPair
            /// Filters of others: where the client's packets come in, and where the host sends them out.
            let fromClient: ForeignProgram
            let toServer: ForeignProgram
        }

        private func address(_ topology: Topology, _ end: Int) -> String {
            topology == .bridged ? "10.78.0.\(end)" : "10.78.\(end).2"
        }

        private func wire(_ sandbox: Sandbox, _ topology: Topology) throws -> Bench {
            let host = try NetworkNamespace.create()
            for (end, namespace) in [(1, sandbox.inside), (2, sandbox.outside)] {
                let peer = "/proc/\(getpid())/fd/\(namespace.raw)"
                // Nothing of IPv6 that would send packets by itself.
                try Sandbox.ip(host, "link add h\(end) type veth peer name eth1 netns \(peer)")
                try Sandbox.ip(host, "link set h\(end) addrgenmode none")
                try Sandbox.ip(namespace, "link set eth1 addrgenmode none")
                try Sandbox.ip(namespace, "addr add \(self.address(topology, end))/24 dev eth1")
                try Sandbox.ip(namespace, "link set eth1 up")
                try Sandbox.ip(host, "link set h\(end) up")
            }
            switch topology {
            case .bridged:
                try Sandbox.ip(host, "link add br0 type bridge")
                try Sandbox.ip(host, "link set br0 addrgenmode none")
                for end in 1...2 { try Sandbox.ip(host, "link set h\(end) master br0") }
                try Sandbox.ip(host, "link set br0 up")
            case .routed:
                try host.run { () throws(SystemError) in
                    let file = try systemCall("open") { open("/proc/sys/net/ipv4/ip_forward", O_WRONLY | O_CLOEXEC) }
                    defer { close(file) }
                    _ = try systemCall("write") { CInt(write(file, "1", 1)) }
                }
                for end in 1...2 { try Sandbox.ip(host, "addr add 10.78.\(end).1/24 dev h\(end)") }
                try Sandbox.ip(sandbox.inside, "route add 10.78.2.0/24 via 10.78.1.1")
                try Sandbox.ip(sandbox.outside, "route add 10.78.1.0/24 via 10.78.2.1")
            }
            let client = try self.pair(host, sandbox.inside, self.address(topology, 1))
            let server = try self.pair(host, sandbox.outside, self.address(topology, 2))
            let programs = (try ForeignProgram(BPF_CGROUP_INET_INGRESS), try ForeignProgram(BPF_CGROUP_INET_INGRESS))
            try host.run { () throws(SystemError) in
                try programs.0.filter(client.host, BPF_TC_INGRESS)
                try programs.1.filter(server.host, BPF_TC_EGRESS)
            }
            return Bench(host: host, client: client, server: server, fromClient: programs.0, toServer: programs.1)
        }

        private func pair(_ host: NetworkNamespace, _ namespace: NetworkNamespace, _ address: String) throws -> VethPair
        {
            let bytes = TestSocket.parse("\(address):1").ip.bytes
            return try #require(try host.run { VethPair.carrying(address: bytes, in: namespace) })
        }

        /// Runs in the host's namespace, as a daemon does.
        private func daemon<T: Sendable>(
            _ bench: Bench, _ body: @escaping @Sendable () throws(SteeringError) -> T
        ) throws -> T {
            try bench.host.run { Result { () throws(SteeringError) in try body() } }.get()
        }

        private func attach(_ sandbox: Sandbox, _ bench: Bench, _ topology: Topology) throws {
            let steering = sandbox.steering
            for (end, key, pair, namespace) in [
                (1, UInt32(7), bench.client, sandbox.inside), (2, Self.serverKey, bench.server, sandbox.outside),
            ] {
                try self.daemon(bench) { () throws(SteeringError) in
                    try steering.attachRedirect(interface: pair.host)
                }
                try steering.setLocal(
                    TestSocket.parse("\(self.address(topology, end)):1").ip,
                    LocalAddress(
                        namespaceCookie: try namespace.cookie(), key: key, interface: pair.host,
                        insideMAC: pair.insideMAC, hostMAC: pair.hostMAC))
            }
        }

        private func attached(_ sandbox: Sandbox, _ bench: Bench) throws -> [Bool] {
            let (instance, pairs) = (sandbox.instance, [bench.client, bench.server])
            return try self.daemon(bench) {
                pairs.map { Steering.hasRedirect(interface: $0.host, instance: instance) }
            }
        }

        /// How many packets the foreign programs see while both ends send some.
        private func talk(
            _ bench: Bench, _ client: TestSocket, _ server: TestSocket, _ text: String
        ) throws -> (fromClient: UInt64, toServer: UInt64) {
            let before = (bench.fromClient.runs, bench.toServer.runs)
            for _ in 0..<Self.rounds {
                for (sender, receiver) in [(client, server), (server, client)] {
                    try #require(Glibc.send(sender.fd, text, text.utf8.count, 0) == text.utf8.count)
                    try #require(receiver.receive(text.utf8.count) == text)
                }
            }
            return (bench.fromClient.runs - before.0, bench.toServer.runs - before.1)
        }

        private func run(
            _ topology: Topology, _ body: (Sandbox, Bench, _ client: TestSocket, _ server: TestSocket) throws -> Void
        ) throws {
            try Sandbox.run { sandbox in
                let path = sandbox.workload.path + "-server"
                try FileTree.makeDirectory(path)
                defer { rmdir(path) }
                let cgroup = try Cgroup(path: path)
                let target = "\(self.address(topology, 2)):8080"
                try sandbox.steering.enrol(
                    Enrolment(
                        key: Self.serverKey, id: "default/server", cgroupPath: path, namespace: sandbox.outside,
                        addresses: [TestSocket.parse(target).ip]))
                try sandbox.steering.setDirectPath(isOn: true, generation: 5)
                let proxy = try sandbox.inboundListener()
                try sandbox.steering.setInboundListeners(7, [proxy.fd])
                let bench = try self.wire(sandbox, topology)
                let listener = try sandbox.application(cgroup: cgroup, in: sandbox.outside)
                try listener.listen(target)
                try sandbox.steering.setVerdict(
                    source: 7, destination: TestSocket.parse("240.240.0.1:80"),
                    DirectVerdict(
                        generation: 5,
                        targets: [
                            DirectVerdict.Target(
                                key: Self.serverKey, address: TestSocket.parse(target),
                                namespaceCookie: try sandbox.outside.cookie(), share: 65_536)
                        ]))
                let client = try sandbox.application()
                try client.connect("240.240.0.1:80")
                let (server, peer) = try listener.accept()
                #expect(peer == client.local)
                #expect(peer?.ip == TestSocket.parse("\(self.address(topology, 1)):1").ip)
                for socket in [client, server] {
                    var on: CInt = 1
                    setsockopt(socket.fd, CInt(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<CInt>.size))
                }
                try body(sandbox, bench, client, server)
                if sandbox.isRunning { try sandbox.steering.unenrol(Self.serverKey) }
            }
        }

        @Test(arguments: Topology.allCases)
        func packetsOfDirectConnectionsSkipTheHost(topology: Topology) throws {
            try self.run(topology) { sandbox, bench, client, server in
                let plain = try self.talk(bench, client, server, "plain")
                #expect(plain.fromClient >= Self.rounds && plain.toServer >= Self.rounds)
                #expect(try self.attached(sandbox, bench) == [false, false])

                try self.attach(sandbox, bench, topology)
                #expect(try self.attached(sandbox, bench) == [true, true])
                let frames = try sandbox.application(
                    family: AF_PACKET, type: SOCK_RAW, in: sandbox.outside, protocol: CInt(UInt16(0x0800).bigEndian))
                let redirected = try self.talk(bench, client, server, "redirected")
                // The filter of others sees every packet still; the host sends none of them on.
                #expect(redirected.fromClient >= Self.rounds)
                #expect(redirected.toServer < Self.rounds / 10)
                // To whom it came, and from whom, is as if the host had sent it.
                let frame = try self.frame(frames, to: self.address(topology, 2), with: "redirected")
                #expect(Array(frame.prefix(12)) == bench.server.insideMAC + bench.server.hostMAC)

                // Once more replaces it.
                try self.attach(sandbox, bench, topology)
                let steering = sandbox.steering
                try self.daemon(bench) { () throws(SteeringError) in
                    for pair in [bench.client, bench.server] { steering.detachRedirect(interface: pair.host) }
                }
                #expect(try self.attached(sandbox, bench) == [false, false])
                let after = try self.talk(bench, client, server, "after")
                #expect(after.fromClient >= Self.rounds && after.toServer >= Self.rounds)
            }
        }

        @Test func itIsTakenAwayWithTheInstanceAndTheOthersStay() throws {
            try self.run(.bridged) { sandbox, bench, client, server in
                try self.attach(sandbox, bench, .bridged)
                sandbox.stop()
                // Without a daemon packets keep their way.
                #expect(try self.talk(bench, client, server, "alone").toServer < Self.rounds / 10)
                #expect(try self.attached(sandbox, bench) == [true, true])
                let instance = sandbox.instance
                try self.daemon(bench) { () throws(SteeringError) in try Steering.removeAll(instance: instance) }
                #expect(try self.attached(sandbox, bench) == [false, false])
                let after = try self.talk(bench, client, server, "after")
                #expect(after.fromClient >= Self.rounds && after.toServer >= Self.rounds)
            }
        }

        @Test func whatIsNoDirectConnectionPassesTheHost() throws {
            try self.run(.bridged) { sandbox, bench, client, server in
                try self.attach(sandbox, bench, .bridged)
                // The server's side is somebody else's for all that the program can know.
                try sandbox.steering.setLocal(TestSocket.parse("10.78.0.2:1").ip, nil)
                let unknown = try self.talk(bench, client, server, "unknown")
                #expect(unknown.toServer >= Self.rounds)
                // The sender is not who its address says. The server's packets keep to the host, since the client's
                // record is the wrong one.
                let (steering, other) = (sandbox.steering, bench.server.host)
                try self.attach(sandbox, bench, .bridged)
                try self.daemon(bench) { () throws(SteeringError) in steering.detachRedirect(interface: other) }
                try steering.setLocal(
                    TestSocket.parse("10.78.0.1:1").ip,
                    LocalAddress(
                        namespaceCookie: try sandbox.inside.cookie(), key: 7, interface: other,
                        insideMAC: bench.client.insideMAC, hostMAC: bench.client.hostMAC))
                #expect(try self.talk(bench, client, server, "forged").toServer >= Self.rounds)
            }
        }

        /// The first frame for `address` that ends with `text`.
        private func frame(_ socket: TestSocket, to address: String, with text: String) throws -> [UInt8] {
            let wanted = TestSocket.parse("\(address):1").ip.bytes
            for _ in 0..<1_000 {
                var bytes = [UInt8](repeating: 0, count: 2_048)
                let count = recv(socket.fd, &bytes, bytes.count, 0)
                guard count > 0 else { break }
                let frame = bytes.prefix(count)
                if frame.suffix(text.utf8.count).elementsEqual(text.utf8), Array(frame[30..<34]) == wanted {
                    return Array(frame)
                }
            }
            throw SystemError(call: "recv", errno: ETIMEDOUT)
        }
    }
}
