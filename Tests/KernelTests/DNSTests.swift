// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import MeshSteering
import Testing

extension KernelTests {
    /// Queries of a workload reach whoever answers on its loopback, and answers seem to come from whom it asked.
    @Suite struct DNS {
        /// Answers in the workload's namespace, as the daemon would.
        private final class Resolver {
            let sandbox: Sandbox
            /// By family and place.
            private(set) var datagrams: [CInt: [TestSocket]] = [:]
            private(set) var streams: [CInt: TestSocket] = [:]

            init(_ sandbox: Sandbox) throws {
                self.sandbox = sandbox
                for (family, host) in [(AF_INET, "127.0.0.1"), (AF_INET6, "[::1]")] {
                    let listener = try sandbox.proxySocket(family: family)
                    try listener.listen("\(host):\(sandbox.steering.resolverPorts[0])")
                    self.streams[family] = listener
                    self.datagrams[family] = try sandbox.steering.resolverPorts.map { port in
                        let socket = try sandbox.socket(in: sandbox.inside, family: family, type: SOCK_DGRAM)
                        try socket.bind("\(host):\(port)")
                        return socket
                    }
                }
                try sandbox.steering.setResolvers(
                    7, ipv4: self.streams[AF_INET]?.fd, ipv6: self.streams[AF_INET6]?.fd)
            }

            /// Takes one query and answers it. Returns whom it was meant for, and the workload that asked.
            @discardableResult
            func answer(_ family: CInt, place: Int = 0, _ text: String = "answer") throws -> OriginalDestination? {
                let socket = try #require(self.datagrams[family]?[place])
                let sender = try #require(socket.receiveFrom()?.sender)
                let cookie = try self.sandbox.inside.cookie()
                let asked = self.sandbox.steering.asked(
                    in: cookie, port: sender.port, place: place, isIPv4: family == AF_INET)
                #expect(socket.send(text, to: sender.description) == text.utf8.count)
                return asked
            }
        }

        private static func run(_ body: (Sandbox) throws -> Void) throws {
            try Sandbox.run(isEnrolled: false) { sandbox in
                try sandbox.enrol { $0.hasNamesAnswered = true }
                try body(sandbox)
            }
        }

        private static func asked(_ address: String) -> OriginalDestination {
            OriginalDestination(address: TestSocket.parse(address), workloadKey: 7)
        }

        /// The socket's family, whom it asks, and the family in which that arrives.
        static let resolvers: [(CInt, String, CInt)] = [
            (AF_INET, "192.0.2.53:53", AF_INET), (AF_INET, "127.0.0.53:53", AF_INET),
            (AF_INET, "169.254.20.10:53", AF_INET), (AF_INET, "10.77.0.2:53", AF_INET),
            (AF_INET, "240.240.0.9:53", AF_INET), (AF_INET6, "[2001:db8::53]:53", AF_INET6),
            (AF_INET6, "[::1]:53", AF_INET6), (AF_INET6, "192.0.2.53:53", AF_INET),
        ]

        @Test(arguments: Self.resolvers)
        func anUnconnectedSocketHearsFromWhomItAsked(family: CInt, address: String, arrives: CInt) throws {
            try Self.run { sandbox in
                let resolver = try Resolver(sandbox)
                let client = try sandbox.application(family: family, type: SOCK_DGRAM)
                for _ in 0..<2 {
                    #expect(client.send("query", to: address) == 5)
                    #expect(try resolver.answer(arrives) == Self.asked(address))
                    let answer = try #require(client.receiveFrom())
                    #expect(answer.text == "answer" && answer.sender == TestSocket.parse(address))
                }
                #expect(sandbox.counter(.dnsCaptured) == 2 && sandbox.entries("nm_queries") == 1)
            }
        }

        @Test(arguments: Self.resolvers)
        func aConnectedSocketSeesWhomItAsked(family: CInt, address: String, arrives: CInt) throws {
            try Self.run { sandbox in
                let resolver = try Resolver(sandbox)
                let client = try sandbox.application(family: family, type: SOCK_DGRAM)
                try client.connect(address)
                #expect(client.peer == TestSocket.parse(address))
                for _ in 0..<2 {
                    #expect(Glibc.send(client.fd, "query", 5, 0) == 5)
                    #expect(try resolver.answer(arrives) == Self.asked(address))
                    #expect(client.receiveFrom()?.sender == TestSocket.parse(address))
                }
                // Somebody else's datagrams do not reach it.
                let stranger = try sandbox.socket(in: sandbox.inside, family: arrives, type: SOCK_DGRAM)
                let port = try #require(client.local).port
                _ = stranger.send("false", to: arrives == AF_INET ? "127.0.0.1:\(port)" : "[::1]:\(port)")
                client.setNonBlocking()
                #expect(client.receiveFrom() == nil)
                #expect(sandbox.counter(.dnsCaptured) == 1)
            }
        }

        @Test(arguments: Self.resolvers)
        func aConnectionOverTCPShowsWhomItAsked(family: CInt, address: String, arrives: CInt) throws {
            try Self.run { sandbox in
                let resolver = try Resolver(sandbox)
                let client = try sandbox.application(family: family)
                try client.connect(address)
                let listener = try #require(resolver.streams[arrives])
                let (accepted, _) = try listener.accept()
                #expect(sandbox.steering.originalDestination(of: accepted.fd) == Self.asked(address))
                #expect(client.peer == TestSocket.parse(address))
                #expect(Glibc.send(accepted.fd, "answer", 6, 0) == 6)
                #expect(client.receive(6) == "answer")
                #expect(sandbox.counter(.dnsCaptured) == 1 && sandbox.counter(.originDelivered) == 1)
            }
        }

        @Test func oneSocketHearsFromEachOfSeveralResolvers() throws {
            try Self.run { sandbox in
                let resolver = try Resolver(sandbox)
                let client = try sandbox.application(family: AF_INET6, type: SOCK_DGRAM)
                let addresses = ["192.0.2.1:53", "[2001:db8::2]:53", "192.0.2.3:53"]
                let families = [AF_INET, AF_INET6, AF_INET]
                for address in addresses { #expect(client.send("query", to: address) == 5) }
                // Answered the other way round.
                for place in addresses.indices.reversed() {
                    let asked = try resolver.answer(families[place], place: place, "answer \(place)")
                    #expect(asked == Self.asked(addresses[place]))
                }
                for place in addresses.indices.reversed() {
                    let answer = try #require(client.receiveFrom())
                    #expect(answer.text == "answer \(place)" && answer.sender == TestSocket.parse(addresses[place]))
                }
                // A fourth takes the place of the first, for good.
                #expect(client.send("query", to: "192.0.2.4:53") == 5)
                #expect(try resolver.answer(AF_INET) == Self.asked("192.0.2.4:53"))
                #expect(client.receiveFrom()?.sender == TestSocket.parse("192.0.2.4:53"))
            }
        }

        @Test func socketsAreNotTakenForEachOther() throws {
            try Self.run { sandbox in
                let resolver = try Resolver(sandbox)
                let clients = try sandbox.applications(8, type: SOCK_DGRAM)
                for (index, client) in clients.enumerated() {
                    let address = "192.0.2.\(index + 1):53"
                    if index.isMultiple(of: 2) {
                        try client.connect(address)
                        #expect(Glibc.send(client.fd, "query", 5, 0) == 5)
                    } else {
                        #expect(client.send("query", to: address) == 5)
                    }
                }
                for index in clients.indices {
                    let asked = try resolver.answer(AF_INET, "\(index)")
                    #expect(asked == Self.asked("192.0.2.\(index + 1):53"))
                }
                for (index, client) in clients.enumerated() {
                    let answer = try #require(client.receiveFrom())
                    #expect(answer.text == "\(index)" && answer.sender == TestSocket.parse("192.0.2.\(index + 1):53"))
                }
                // A socket with a port of its own choice keeps it, and one that is connected anew asks anew.
                let chosen = try sandbox.application(type: SOCK_DGRAM)
                try chosen.bind("10.77.0.2:5353")
                try chosen.connect("192.0.2.77:53")
                #expect(chosen.local == TestSocket.parse("10.77.0.2:5353"))
                #expect(Glibc.send(chosen.fd, "query", 5, 0) == 5)
                #expect(try resolver.answer(AF_INET) == Self.asked("192.0.2.77:53"))
                #expect(chosen.receiveFrom()?.sender == TestSocket.parse("192.0.2.77:53"))
            }
        }

        @Test func withoutTheDaemonEachAsksItsResolver() throws {
            try Self.run { sandbox in
                let resolvers = [AF_INET: "10.77.0.1:53", AF_INET6: "[fd01::1]:53"]
                for (family, address) in resolvers {
                    let (outside, listener) = (
                        try sandbox.socket(in: sandbox.outside, family: family, type: SOCK_DGRAM),
                        try sandbox.stranger(family: family)
                    )
                    try outside.bind(address)
                    try listener.listen(address)
                    let before = sandbox.counter(.dnsFailedOpen)
                    // As after a crash: nobody told the kernel.
                    do { _ = try Resolver(sandbox) }
                    let client = try sandbox.application(family: family, type: SOCK_DGRAM)
                    #expect(client.send("query", to: address) == 5)
                    let sender = try #require(outside.receiveFrom()?.sender)
                    #expect(outside.send("direct", to: sender.description) == 6)
                    let answer = try #require(client.receiveFrom())
                    #expect(answer.text == "direct" && answer.sender == TestSocket.parse(address))
                    let connected = try sandbox.application(family: family, type: SOCK_DGRAM)
                    try connected.connect(address)
                    #expect(Glibc.send(connected.fd, "query", 5, 0) == 5)
                    #expect(outside.receiveFrom()?.text == "query")
                    let stream = try sandbox.application(family: family)
                    try stream.connect(address)
                    #expect(try listener.accept().peer?.ip == stream.local?.ip)
                    #expect(sandbox.counter(.dnsFailedOpen) == before + 3 && sandbox.counter(.dnsCaptured) == 0)
                }
                // With a new one it goes on.
                let resolver = try Resolver(sandbox)
                let client = try sandbox.application(type: SOCK_DGRAM)
                #expect(client.send("query", to: "10.77.0.1:53") == 5)
                #expect(try resolver.answer(AF_INET) == Self.asked("10.77.0.1:53"))
            }
        }

        @Test func otherTrafficIsUntouched() throws {
            try Self.run { sandbox in
                let resolver = try Resolver(sandbox)
                let outside = try sandbox.socket(in: sandbox.outside, type: SOCK_DGRAM)
                try outside.bind("10.77.0.1:5300")
                let client = try sandbox.application(type: SOCK_DGRAM)
                #expect(client.send("other", to: "10.77.0.1:5300") == 5)
                #expect(outside.receiveFrom()?.text == "other")
                // One socket may do both.
                #expect(client.send("query", to: "10.77.0.1:53") == 5)
                try resolver.answer(AF_INET)
                #expect(client.receiveFrom()?.sender == TestSocket.parse("10.77.0.1:53"))
                // A server's answer to a client that asks from port 53.
                let peer = try sandbox.socket(in: sandbox.outside, type: SOCK_DGRAM)
                try peer.bind("10.77.0.1:53")
                let server = try sandbox.application(type: SOCK_DGRAM)
                try server.bind("10.77.0.2:53")
                #expect(server.send("served", to: "10.77.0.1:53") == 6)
                #expect(peer.receiveFrom()?.text == "served")
                #expect(sandbox.counter(.dnsCaptured) == 1)
            }
        }

        @Test func whoeverIsLeftOutAsksItsResolver() throws {
            try Sandbox.run(isEnrolled: false) { sandbox in
                let outside = try sandbox.socket(in: sandbox.outside, type: SOCK_DGRAM)
                try outside.bind("10.77.0.1:53")
                func reaches(_ change: (inout Enrolment) -> Void) throws -> Bool {
                    try sandbox.enrol(change)
                    let resolver = try Resolver(sandbox)
                    return try withExtendedLifetime(resolver) {
                        let client = try sandbox.application(type: SOCK_DGRAM)
                        #expect(client.send("query", to: "10.77.0.1:53") == 5)
                        outside.setNonBlocking()
                        usleep(20_000)
                        return outside.receiveFrom()?.text == "query"
                    }
                }
                #expect(try reaches { _ in })
                let pins = try sandbox.steering.status().links.map(\.pin)
                #expect(!pins.contains { $0.hasSuffix("sendmsg4") })
                #expect(try !reaches { $0.hasNamesAnswered = true })
                #expect(try sandbox.steering.status().links.contains { $0.pin.hasSuffix("sendmsg4") })
                #expect(
                    try reaches {
                        $0.hasNamesAnswered = true
                        $0.excludedOutboundPorts = [53]
                    })
                #expect(
                    try reaches {
                        $0.hasNamesAnswered = true
                        $0.excludedPrefixes = [IPPrefix("10.77.0.0/24")].compactMap(\.self)
                    })
                #expect(try reaches { _ in })
                #expect(try !sandbox.steering.status().links.contains { $0.pin.hasSuffix("sendmsg4") })
                #expect(sandbox.counter(.dnsCaptured) == 1)
            }
        }

        @Test func whatIsTiedToAPlaceIsLeftThere() throws {
            try Self.run { sandbox in
                let resolver = try Resolver(sandbox)
                let outside = try sandbox.socket(in: sandbox.outside, type: SOCK_DGRAM)
                try outside.bind("10.77.0.1:53")
                let bound = try sandbox.application(type: SOCK_DGRAM)
                try bound.bindToDevice("eth0")
                #expect(bound.send("query", to: "10.77.0.1:53") == 5)
                #expect(outside.receiveFrom()?.text == "query")
                let link = try sandbox.application(family: AF_INET6, type: SOCK_DGRAM)
                _ = link.send("query", to: "[fe80::1]:53")
                // A process of the workload in another namespace, where nobody answers.
                let elsewhere = try sandbox.application(type: SOCK_DGRAM, in: sandbox.outside)
                #expect(elsewhere.send("query", to: "10.77.0.1:53") == 5)
                #expect(outside.receiveFrom()?.text == "query")
                #expect(sandbox.counter(.dnsLeft) == 3 && sandbox.counter(.dnsCaptured) == 0)
                withExtendedLifetime(resolver) {}
            }
        }

        @Test func whatNobodyNeedsAnyMoreGoes() throws {
            try Self.run { sandbox in
                let resolver = try Resolver(sandbox)
                #expect(sandbox.entries("nm_resolvers") == 2)
                let client = try sandbox.application(type: SOCK_DGRAM)
                try sandbox.steering.unenrol(7)
                _ = client.send("query", to: "10.77.0.1:53")
                #expect(sandbox.steering.mapStatus().first { $0.name == "nm_resolvers" }?.entries == 0)
                #expect(sandbox.counter(.dnsCaptured) == 0)
                #expect(throws: SteeringError.self) { try sandbox.steering.setResolvers(7, ipv4: nil, ipv6: nil) }
                withExtendedLifetime(resolver) {}
            }
        }

        @Test func aRestartedDaemonTakesQueriesOver() throws {
            try Self.run { sandbox in
                do { _ = try Resolver(sandbox) }
                sandbox.stop()
                try sandbox.start()
                try sandbox.enrol { $0.hasNamesAnswered = true }
                let resolver = try Resolver(sandbox)
                let client = try sandbox.application(type: SOCK_DGRAM)
                #expect(client.send("query", to: "192.0.2.53:53") == 5)
                #expect(try resolver.answer(AF_INET) == Self.asked("192.0.2.53:53"))
                #expect(client.receiveFrom()?.sender == TestSocket.parse("192.0.2.53:53"))
            }
        }

        @Test func aResolverOfAnotherNamespaceIsRefused() throws {
            try Self.run { sandbox in
                let stranger = try sandbox.stranger()
                try stranger.listen("127.0.0.1:15053")
                #expect(throws: SteeringError.self) {
                    try sandbox.steering.setResolvers(7, ipv4: stranger.fd, ipv6: nil)
                }
            }
        }
    }
}
