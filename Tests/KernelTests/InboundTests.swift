// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshModel
import MeshSteering
import Testing

extension KernelTests {
    @Suite struct Inbound {
        @Test func connectionsFromOutsideReachTheProxyAndItsOwnTheApplication() throws {
            try Sandbox.run { sandbox in
                let server = try sandbox.application()
                try server.listen("0.0.0.0:8080")
                let listener = try sandbox.inboundListener()
                try sandbox.steering.setInboundListeners(7, [listener.fd])

                let client = try sandbox.stranger()
                try client.connect("10.77.0.2:8080")
                let (accepted, peer) = try listener.accept()
                #expect(accepted.local == TestSocket.parse("10.77.0.2:8080"))
                #expect(peer == client.local)
                #expect(sandbox.counter(.inboundSteered) >= 1)

                let leg = try sandbox.proxySocket()
                #expect(sandbox.steering.setRealClient(on: leg.fd, client: try #require(client.local)))
                try leg.connect("10.77.0.2:8080")
                let (served, shown) = try server.accept()
                #expect(shown == client.local)
                #expect(served.peer == client.local)
                #expect(sandbox.counter(.clientDelivered) == 1)
                #expect(sandbox.entries("nm_proxied") == 0)
            }
        }

        @Test func theRealClientIsShownOnADualStackSocket() throws {
            try Sandbox.run { sandbox in
                let server = try sandbox.application(family: AF_INET6)
                try server.listen("[::]:8080")
                let leg = try sandbox.proxySocket()
                #expect(sandbox.steering.setRealClient(on: leg.fd, client: TestSocket.parse("10.9.9.9:1234")))
                try leg.connect("10.77.0.2:8080")
                let (served, shown) = try server.accept()
                #expect(shown == TestSocket.parse("10.9.9.9:1234"))
                #expect(served.peer == TestSocket.parse("10.9.9.9:1234"))
            }
        }

        @Test func legsWithTheSameSourcePortKeepTheirClients() throws {
            try Sandbox.run { sandbox in
                var servers: [TestSocket] = []
                for port in [8080, 8081] {
                    let server = try sandbox.application()
                    try server.listen("0.0.0.0:\(port)")
                    servers.append(server)
                    let leg = try sandbox.proxySocket()
                    var on: CInt = 1
                    setsockopt(leg.fd, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<CInt>.size))
                    try leg.bind("10.77.0.2:4444")
                    #expect(sandbox.steering.setRealClient(on: leg.fd, client: TestSocket.parse("10.9.9.9:\(port)")))
                    leg.setNonBlocking()
                    _ = leg.connectError("10.77.0.2:\(port)")
                    #expect(leg.outcome() == 0)
                    let (_, shown) = try server.accept()
                    #expect(shown == TestSocket.parse("10.9.9.9:\(port)"))
                }
            }
        }

        @Test func aRefusedLegLeavesNoRecord() throws {
            try Sandbox.run { sandbox in
                let leg = try sandbox.proxySocket()
                #expect(sandbox.steering.setRealClient(on: leg.fd, client: TestSocket.parse("10.9.9.9:1234")))
                #expect(leg.connectError("10.77.0.2:8080") == ECONNREFUSED)
                #expect(sandbox.counter(.proxyConnect) == 1)
                #expect(sandbox.entries("nm_proxied") == 0)
            }
        }

        @Test func aLegToTheNetworkLeavesNoRecord() throws {
            try Sandbox.run { sandbox in
                let server = try sandbox.stranger()
                try server.listen("10.77.0.1:8080")
                do {
                    let leg = try sandbox.proxySocket()
                    try leg.connect("10.77.0.1:8080")
                    #expect(sandbox.entries("nm_proxied") == 1)
                    var reset = linger(l_onoff: 1, l_linger: 0)
                    setsockopt(leg.fd, SOL_SOCKET, SO_LINGER, &reset, socklen_t(MemoryLayout<linger>.size))
                }
                #expect(sandbox.entries("nm_proxied") == 0)
            }
        }

        @Test func withoutAListenerConnectionsAreRefused() throws {
            try Sandbox.run { sandbox in
                let server = try sandbox.application()
                try server.listen("0.0.0.0:8080")
                #expect(try sandbox.stranger().connectError("10.77.0.2:8080") == ECONNREFUSED)
                do {
                    let listener = try sandbox.inboundListener()
                    try sandbox.steering.setInboundListeners(7, [listener.fd])
                    try sandbox.stranger().connect("10.77.0.2:8080")
                    _ = try listener.accept()
                    #expect(sandbox.entries("nm_listeners") == 1)
                }
                #expect(sandbox.entries("nm_listeners") == 0)
                #expect(try sandbox.stranger().connectError("10.77.0.2:8080") == ECONNREFUSED)
                #expect(sandbox.counter(.inboundRefused) >= 2)
            }
        }

        @Test func iPv6IsRefusedByAnIPv4Listener() throws {
            try Sandbox.run { sandbox in
                let server = try sandbox.application(family: AF_INET6)
                try server.listen("[::]:8080")
                let listener = try sandbox.inboundListener()
                try sandbox.steering.setInboundListeners(7, [listener.fd])
                #expect(try sandbox.stranger(family: AF_INET6).connectError("[fd01::2]:8080") == ECONNREFUSED)
                #expect(sandbox.counter(.inboundFamilyRefused) >= 1)
            }
        }

        @Test func trafficInsideTheNamespaceIsUntouched() throws {
            try Sandbox.run { sandbox in
                let listener = try sandbox.inboundListener()
                try sandbox.steering.setInboundListeners(7, [listener.fd])
                let server = try sandbox.application()
                try server.listen("0.0.0.0:8080")
                for address in ["10.77.0.2:8080", "127.0.0.1:8080"] {
                    let client = try sandbox.application()
                    try client.connect(address)
                    let (_, peer) = try server.accept()
                    #expect(peer == client.local)
                }
                #expect(sandbox.counter(.inboundSteered) == 0)
                #expect(sandbox.counter(.inboundLocal) >= 2)
            }
        }

        @Test func aGroupOfListenersShares() throws {
            try Sandbox.run { sandbox in
                let listeners = try [sandbox.inboundListener(), sandbox.inboundListener()]
                try sandbox.steering.setInboundListeners(7, listeners.map(\.fd))
                var clients: [TestSocket] = []
                for _ in 0..<64 {
                    let client = try sandbox.stranger()
                    try client.connect("10.77.0.2:8080")
                    clients.append(client)
                }
                var counts: [Int] = []
                for listener in listeners {
                    listener.setNonBlocking()
                    var count = 0
                    while (try? listener.accept()) != nil { count += 1 }
                    counts.append(count)
                }
                #expect(counts.reduce(0, +) == 64)
                #expect(counts.allSatisfy { $0 > 0 })
            }
        }

        @Test func aListenerOfAnotherNamespaceIsNotTaken() throws {
            try Sandbox.run { sandbox in
                let listener = try sandbox.stranger()
                try listener.listen("0.0.0.0:15006")
                #expect(throws: SteeringError.self) { try sandbox.steering.setInboundListeners(7, [listener.fd]) }
                #expect(throws: SteeringError.self) { try sandbox.steering.setInboundListeners(8, []) }
            }
        }

        @Test func failOpenServesWithoutAProxy() throws {
            try Sandbox.run(failMode: .open) { sandbox in
                let server = try sandbox.application()
                try server.listen("0.0.0.0:8080")
                try sandbox.stranger().connect("10.77.0.2:8080")
                _ = try server.accept()
                #expect(sandbox.counter(.inboundFailedOpen) >= 1)
            }
        }
    }
}
