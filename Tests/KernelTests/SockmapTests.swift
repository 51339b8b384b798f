// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import MeshSteering
import Synchronization
import Testing

extension KernelTests {
    /// As ``Direct``, with acceleration asked for by both workloads, or not.
    @Suite struct Sockmap {
        private static let serverKey: UInt32 = 8
        private static let cap: UInt64 = 1 << 20

        private struct Pair {
            let client: TestSocket
            let server: TestSocket
        }

        private func run(
            client: Bool = true, server: Bool = true, target: Bool = true, cap: UInt64 = Self.cap,
            listen: (family: CInt, address: String) = (AF_INET, "10.77.0.1:8080"),
            defersAccept: Bool = false, _ body: (Sandbox, () throws -> Pair) throws -> Void
        ) throws {
            try Sandbox.run(isEnrolled: false) { sandbox in
                let cgroup = try sandbox.cgroup("server")
                try self.enrol(sandbox, cgroup, client: client, server: server)
                try sandbox.steering.setDirectPath(isOn: true, generation: 5)
                try sandbox.steering.startSockmap(cap: cap)
                let inbound = try sandbox.inboundListener()
                try sandbox.steering.setInboundListeners(7, [inbound.fd])
                let listener = try sandbox.application(family: listen.family, cgroup: cgroup, in: sandbox.outside)
                try listener.listen(listen.address)
                if defersAccept {
                    var seconds: CInt = 5
                    setsockopt(
                        listener.fd, CInt(IPPROTO_TCP), TCP_DEFER_ACCEPT, &seconds,
                        socklen_t(MemoryLayout<CInt>.size))
                }
                try sandbox.steering.setVerdict(
                    source: 7, destination: TestSocket.parse("240.240.0.1:80"),
                    DirectVerdict(
                        generation: 5,
                        targets: [
                            .init(
                                key: Self.serverKey, address: TestSocket.parse("10.77.0.1:8080"),
                                namespaceCookie: try sandbox.outside.cookie(), share: 65_536, isAccelerated: target)
                        ]))
                try body(sandbox) {
                    let client = try sandbox.application()
                    try client.connect("240.240.0.1:80")
                    if defersAccept { #expect(send(client.fd, "first", 5, 0) == 5) }
                    return Pair(client: client, server: try listener.accept().socket)
                }
                #expect(try sandbox.steering.directFlows().isEmpty)
                #expect(try eventually { sandbox.entries("nm_sockmap") == 0 })
                try sandbox.steering.unenrol(Self.serverKey)
            }
        }

        private func enrol(_ sandbox: Sandbox, _ cgroup: Cgroup, client: Bool, server: Bool) throws {
            try sandbox.enrol { $0.isAccelerated = client }
            var enrolment = Enrolment(
                key: Self.serverKey, id: "default/server", cgroupPath: cgroup.path, namespace: sandbox.outside,
                addresses: [TestSocket.parse("10.77.0.1:1").ip, TestSocket.parse("[fd01::1]:1").ip])
            enrolment.isAccelerated = server
            try sandbox.steering.enrol(enrolment)
        }

        private func eventually(_ condition: () throws -> Bool) throws -> Bool {
            for _ in 0..<500 {
                if try condition() { return true }
                usleep(10_000)
            }
            return false
        }

        private func exchange(_ from: TestSocket, _ to: TestSocket, _ text: String) {
            #expect(send(from.fd, text, text.utf8.count, 0) == text.utf8.count)
            #expect(to.receive(100) == text)
        }

        private func end(_ address: SocketAddress) -> DiagnosedSocket.End {
            DiagnosedSocket.End(high: address.ip.high, low: address.ip.low, port: address.port)
        }

        /// Both sockets shut down, so that the kernel forgets the connection at once.
        private func finish(_ pair: Pair) {
            shutdown(pair.client.fd, CInt(SHUT_RDWR))
            shutdown(pair.server.fd, CInt(SHUT_RDWR))
            _ = pair.client.receive(1)
        }

        @Test(arguments: [(AF_INET, "10.77.0.1:8080"), (AF_INET6, "[::]:8080")])
        func bothJoin(family: CInt, address: String) throws {
            try self.run(listen: (family, address)) { sandbox, dial in
                let pair = try dial()
                #expect(sandbox.counter(.sockmapJoined) == 1)
                self.exchange(pair.client, pair.server, "question")
                self.exchange(pair.server, pair.client, "answer")
                let flow = try #require(try sandbox.steering.directFlows().first)
                #expect(flow.isAccelerated && !flow.isStalled)
                #expect(flow.redirected == (8, 6))
                self.finish(pair)
            }
        }

        @Test(arguments: [(false, true, true), (true, false, true), (true, true, false)])
        func oneDoesNotAsk(client: Bool, server: Bool, target: Bool) throws {
            try self.run(client: client, server: server, target: target) { sandbox, dial in
                let pair = try dial()
                #expect(sandbox.counter(.direct) == 1 && sandbox.counter(.sockmapJoined) == 0)
                self.exchange(pair.client, pair.server, "question")
                self.exchange(pair.server, pair.client, "answer")
                let flow = try #require(try sandbox.steering.directFlows().first)
                #expect(!flow.isAccelerated)
                #expect(flow.redirected == (0, 0))
                self.finish(pair)
            }
        }

        /// Pieces of all sizes, each sent when the one before was read, so that no cap is met.
        @Test func bytesArriveAsTheyWereSent() throws {
            try self.run { sandbox, dial in
                let pair = try dial()
                var random = SystemRandomNumberGenerator()
                let pattern = (0..<400_000).map { _ in UInt8.random(in: 0...255, using: &random) }
                var buffer = [UInt8](repeating: 0, count: 100_000)
                for (from, to) in [(pair.client, pair.server), (pair.server, pair.client)] {
                    var (sent, position) = (0, 0)
                    while sent < 20_000_000 {
                        let size = Int.random(in: 1...(Bool.random() ? 300_000 : 2_000), using: &random)
                        let start = sent % 65_521
                        let bytes = Array(pattern[start..<(start + size)])
                        try #require(send(from.fd, bytes, size, 0) == size)
                        sent += size
                        var got: [UInt8] = []
                        while position < sent {
                            let room = Int.random(in: 1...100_000, using: &random)
                            let count = recv(to.fd, &buffer, room, 0)
                            try #require(count > 0)
                            got += buffer[..<count]
                            position += count
                        }
                        try #require(got == bytes)
                    }
                    #expect(sent == position)
                }
                let flow = try #require(try sandbox.steering.directFlows().first)
                #expect(flow.redirected.sent >= 20_000_000 && flow.redirected.received >= 20_000_000)
                self.finish(pair)
            }
        }

        /// The server's end joins only with the client's first bytes, which take TCP: so do all that follow.
        @Test func aDecisionStays() throws {
            try self.run(defersAccept: true) { sandbox, dial in
                let pair = try dial()
                #expect(pair.server.receive(100) == "first")
                let flow = try #require(try sandbox.steering.directFlows().first)
                #expect(flow.isAccelerated)
                for _ in 0..<10 { self.exchange(pair.client, pair.server, "question") }
                for _ in 0..<10 { self.exchange(pair.server, pair.client, "answer") }
                #expect(try sandbox.steering.directFlows().first?.redirected ?? (1, 1) == (0, 60))
                self.finish(pair)
            }
        }

        @Test func whatBeganBeforeStaysPlain() throws {
            try self.run { sandbox, dial in
                try sandbox.steering.stopSockmap()
                let before = try dial()
                try sandbox.steering.startSockmap(cap: Self.cap)
                for _ in 0..<3 { self.exchange(before.client, before.server, "plain") }
                let flow = try #require(try sandbox.steering.directFlows().first)
                #expect(!flow.isAccelerated)
                #expect(flow.redirected == (0, 0))
                self.finish(before)
            }
        }

        @Test(arguments: [1, 1_000, 100_000])
        func aReaderThatStallsEndsIt(size: Int) throws {
            try self.run { sandbox, dial in
                let pair = try dial()
                self.exchange(pair.client, pair.server, "first")
                let seen = Mutex<[SteeringEvent]>([])
                let reader = try sandbox.steering.events { event in seen.withLock { $0.append(event) } }
                let bytes = [UInt8](repeating: 7, count: size)
                var sent = 0
                var result = 0
                repeat {
                    result = send(pair.client.fd, bytes, size, CInt(MSG_NOSIGNAL))
                    if result > 0 { sent += result }
                } while result == size && sent < 64 << 20
                #expect(result < size)
                #expect(sent <= Int(Self.cap))
                // Each message costs memory of its own.
                #expect(sent / size <= Int(Self.cap) / (size + 1_024) + 1)
                #expect(sandbox.counter(.sockmapStalled) == 1)
                #expect(try self.eventually { seen.withLock { $0.contains { $0.reason == .sockmapStalled } } })
                let event = try #require(seen.withLock { $0.first { $0.reason == .sockmapStalled } })
                #expect(event.source == pair.client.local && event.workloadKey == 7 && event.targetKey == 8)
                #expect(event.upstream == TestSocket.parse("10.77.0.1:8080"))
                let flow = try #require(try sandbox.steering.directFlows().first)
                #expect(flow.isStalled)
                // It does not come back to life.
                #expect(send(pair.client.fd, bytes, size, CInt(MSG_NOSIGNAL)) == -1)
                try SocketDiagnostics(in: sandbox.inside).destroy(
                    local: self.end(flow.client), remote: self.end(flow.server), cookie: flow.cookie)
                #expect(try sandbox.steering.directFlows().isEmpty)
                withExtendedLifetime(reader) {}
            }
        }

        /// A long stream whose reader is never quite done: what has been read does not count any more.
        @Test func readingMakesRoom() throws {
            try self.run { sandbox, dial in
                let pair = try dial()
                let bytes = [UInt8](repeating: 1, count: 500)
                var buffer = bytes
                for _ in 0..<100 { #expect(send(pair.client.fd, bytes, 500, 0) == 500) }
                for _ in 0..<20_000 {
                    try #require(send(pair.client.fd, bytes, 500, 0) == 500)
                    try #require(recv(pair.server.fd, &buffer, 500, CInt(MSG_WAITALL)) == 500)
                }
                #expect(sandbox.counter(.sockmapStalled) == 0)
                self.finish(pair)
            }
        }

        @Test func peekingIsNotReading() throws {
            try self.run { sandbox, dial in
                let pair = try dial()
                let bytes = [UInt8](repeating: 1, count: 100_000)
                var buffer = bytes
                var result = 0
                for _ in 0..<40 {
                    result = send(pair.client.fd, bytes, bytes.count, CInt(MSG_NOSIGNAL))
                    if result < 0 { break }
                    _ = recv(pair.server.fd, &buffer, 100_000, CInt(MSG_PEEK))
                }
                #expect(result == -1)
                #expect(sandbox.counter(.sockmapStalled) == 1)
                self.finish(pair)
            }
        }

        /// The reply waits unread while both FINs pass.
        @Test func aHalfCloseLosesNothing() throws {
            try self.run { sandbox, dial in
                let pair = try dial()
                self.exchange(pair.client, pair.server, "question")
                shutdown(pair.client.fd, CInt(SHUT_WR))
                #expect(pair.server.receive(1)?.isEmpty == true)
                let reply = [UInt8](repeating: 9, count: 300_000)
                #expect(send(pair.server.fd, reply, reply.count, 0) == reply.count)
                shutdown(pair.server.fd, CInt(SHUT_RDWR))
                #expect(try self.eventually { try sandbox.steering.directFlows().isEmpty })
                var (total, buffer) = (0, [UInt8](repeating: 0, count: 65_536))
                while true {
                    let count = recv(pair.client.fd, &buffer, buffer.count, 0)
                    if count <= 0 { break }
                    total += count
                }
                #expect(total == reply.count)
            }
        }

        @Test func aCloseWithUnreadBytesEndsIt() throws {
            try self.run { sandbox, dial in
                var pair: Pair? = try dial()
                let client = try #require(pair?.client)
                self.exchange(client, try #require(pair?.server), "first")
                #expect(send(client.fd, "unread", 6, 0) == 6)
                pair = nil
                #expect(client.receive(10)?.isEmpty != false)
                // As over TCP, one write may pass before the other end's answer is here.
                #expect(
                    try self.eventually { send(client.fd, "more", 4, CInt(MSG_NOSIGNAL)) == -1 && errno == EPIPE })
                shutdown(client.fd, CInt(SHUT_RDWR))
                #expect(try self.eventually { try sandbox.steering.directFlows().isEmpty })
            }
        }

        @Test func aRestartKeepsConnectionsAndCountsOnce() throws {
            try self.run { sandbox, dial in
                let pair = try dial()
                let bytes = [UInt8](repeating: 1, count: 100_000)
                var buffer = bytes
                sandbox.stop()
                try sandbox.start()
                try sandbox.steering.startSockmap(cap: Self.cap)
                for _ in 0..<100 {
                    try #require(send(pair.client.fd, bytes, bytes.count, 0) == bytes.count)
                    try #require(
                        recv(pair.server.fd, &buffer, bytes.count, CInt(MSG_WAITALL)) == bytes.count)
                }
                var sent = 0
                while send(pair.client.fd, bytes, 100_000, CInt(MSG_NOSIGNAL)) == 100_000 { sent += 100_000 }
                #expect(sent <= Int(Self.cap))
                self.finish(pair)
                let server = try Cgroup(path: sandbox.workload.path.dropLast("workload".count) + "server")
                try self.enrol(sandbox, server, client: true, server: true)
            }
        }
    }
}
