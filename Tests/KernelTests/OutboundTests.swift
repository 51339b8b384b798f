// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import MeshSteering
import Testing

extension KernelTests {
    @Suite struct Outbound {
        @Test(arguments: [true, false])
        func connectIsCapturedAndLooksUntouched(isBlocking: Bool) throws {
            try Sandbox.run { sandbox in
                let listener = try sandbox.outboundListener()
                let client = try sandbox.application()
                if isBlocking {
                    try client.connect("240.240.0.1:80")
                } else {
                    client.setNonBlocking()
                    #expect(client.connectError("240.240.0.1:80") == EINPROGRESS)
                    #expect(client.outcome() == 0)
                }
                let (accepted, peer) = try listener.accept()
                #expect(
                    sandbox.steering.originalDestination(of: accepted.fd)
                        == OriginalDestination(address: TestSocket.parse("240.240.0.1:80"), workloadKey: 7))
                #expect(client.peer == TestSocket.parse("240.240.0.1:80"))
                #expect(client.local?.ip == TestSocket.parse("10.77.0.2:0").ip)
                #expect(peer == client.local)
                #expect(sandbox.counter(.captured) == 1)
                #expect(sandbox.counter(.originDelivered) == 1)
                #expect(sandbox.entries("nm_origins") == 0)
            }
        }

        @Test func aCgroupBelowTheWorkloadsIsTheWorkload() throws {
            try Sandbox.run { sandbox in
                let child = sandbox.workload.path + "/child"
                try FileTree.makeDirectory(child)
                let listener = try sandbox.outboundListener()
                let client = try #require(try sandbox.applications(1, cgroup: Cgroup(path: child)).first)
                try client.connect("240.240.0.1:80")
                #expect(try sandbox.nextDestination(listener)?.workloadKey == 7)
                try removeCgroup(child)
            }
        }

        @Test func workloadsAreToldApart() throws {
            try Sandbox.run { sandbox in
                let other = sandbox.workload.path + "-other"
                try FileTree.makeDirectory(other)
                defer { rmdir(other) }
                let cgroup = try Cgroup(path: other)
                try sandbox.steering.enrol(
                    Enrolment(
                        key: 8, id: "default/other", cgroupPath: other, namespace: sandbox.outside, addresses: []))
                let listener = try sandbox.stranger()
                try listener.listen("127.0.0.1:15001")
                let own = try sandbox.outboundListener()

                let client = try #require(
                    try sandbox.applications(1, cgroup: cgroup, in: sandbox.outside).first)
                try client.connect("240.240.0.1:80")
                #expect(try sandbox.nextDestination(listener)?.workloadKey == 8)
                try sandbox.application().connect("240.240.0.1:80")
                #expect(try sandbox.nextDestination(own)?.workloadKey == 7)
                // A process that strays into another namespace keeps its own identity.
                let stray = try #require(try sandbox.applications(1, in: sandbox.outside).first)
                try stray.connect("240.240.0.1:80")
                #expect(try sandbox.nextDestination(listener)?.workloadKey == 7)
                #expect(sandbox.steering.enrolled().count == 2)
                try sandbox.steering.unenrol(8)
                #expect(sandbox.entries("nm_namespaces") == 1)
            }
        }

        @Test func mappedAddressOnAnIPv6SocketIsCaptured() throws {
            try Sandbox.run { sandbox in
                let listener = try sandbox.outboundListener()
                let client = try sandbox.application(family: AF_INET6)
                try client.connect("[::ffff:240.240.3.4]:443")
                let (accepted, _) = try listener.accept()
                let destination = sandbox.steering.originalDestination(of: accepted.fd)
                #expect(destination?.address == TestSocket.parse("240.240.3.4:443"))
                #expect(client.peer == TestSocket.parse("240.240.3.4:443"))
                #expect(client.local?.ip == TestSocket.parse("10.77.0.2:0").ip)
            }
        }

        @Test func nativeIPv6IsRefusedByAProxyWithoutIt() throws {
            try Sandbox.run { sandbox in
                let server = try sandbox.stranger(family: AF_INET6)
                try server.listen("[fd01::1]:8080")
                #expect(try sandbox.application(family: AF_INET6).connectError("[fd00:77::1]:80") == ECONNREFUSED)
                #expect(sandbox.counter(.ipv6Refused) == 1)
                try sandbox.application(family: AF_INET6).connect("[fd01::1]:8080")
                _ = try server.accept()
                #expect(sandbox.counter(.captured) == 0)
            }
        }

        @Test func aWideIPv6PrefixDoesNotCoverIPv4() throws {
            try Sandbox.run(prefixes: ["::/0"]) { sandbox in
                let server = try sandbox.stranger()
                try server.listen("10.77.0.1:8080")
                try sandbox.application().connect("10.77.0.1:8080")
                try sandbox.application(family: AF_INET6).connect("[::ffff:10.77.0.1]:8080")
                #expect(try sandbox.application(family: AF_INET6).connectError("[2001:db8::1]:80") == ECONNREFUSED)
            }
        }

        @Test func destinationsOutsideThePrefixesAreUntouched() throws {
            try Sandbox.run { sandbox in
                let server = try sandbox.stranger()
                try server.listen("10.77.0.1:8080")
                let client = try sandbox.application()
                try client.connect("10.77.0.1:8080")
                let (_, peer) = try server.accept()
                #expect(peer == client.local)
                #expect(client.peer == TestSocket.parse("10.77.0.1:8080"))
                #expect(sandbox.steering.counters().values.allSatisfy { $0 == 0 })
            }
        }

        @Test func datagramsAreUntouched() throws {
            try Sandbox.run { sandbox in
                let client = try sandbox.application(type: SOCK_DGRAM)
                try client.connect("240.240.0.1:53")
                #expect(client.peer == TestSocket.parse("240.240.0.1:53"))
                #expect(sandbox.steering.counters().values.allSatisfy { $0 == 0 })
            }
        }

        @Test func ownAddressesAndLoopbackAreUntouched() throws {
            try Sandbox.run(prefixes: ["10.77.0.0/24", "127.0.0.0/8"]) { sandbox in
                let server = try sandbox.application()
                try server.listen("0.0.0.0:8080")
                for address in ["10.77.0.2:8080", "127.0.0.1:8080", "0.0.0.0:8080"] {
                    let client = try sandbox.application()
                    try client.connect(address)
                    let (_, peer) = try server.accept()
                    #expect(peer == client.local)
                }
                #expect(sandbox.counter(.selfBypassed) == 1)
                #expect(sandbox.counter(.captured) == 0)
            }
        }

        @Test(arguments: ["127.0.0.1:15001", "127.0.0.1:15006", "127.9.9.9:15006", "0.0.0.0:15001", "10.77.0.2:15006"])
        func theProxysOwnPortsCannotBeDialled(address: String) throws {
            try Sandbox.run { sandbox in
                let listeners = try (sandbox.outboundListener(), sandbox.inboundListener())
                #expect(try sandbox.application().connectError(address) == EPERM)
                #expect(sandbox.counter(.capturePortRefused) == 1)
                _ = listeners
            }
        }

        @Test func withoutAProxyConnectsAreRefusedAndForgotten() throws {
            try Sandbox.run { sandbox in
                #expect(try sandbox.application().connectError("240.240.0.1:80") == ECONNREFUSED)
                let pending = try sandbox.application()
                pending.setNonBlocking()
                _ = pending.connectError("240.240.0.2:80")
                #expect(pending.outcome() == ECONNREFUSED)
                #expect(sandbox.counter(.captured) == 2)
                #expect(sandbox.entries("nm_origins") == 0)
            }
        }

        @Test func aBoundDeviceDoesNotPreventCapture() throws {
            try Sandbox.run { sandbox in
                let listener = try sandbox.outboundListener()
                let client = try sandbox.application()
                try client.bindToDevice("eth0")
                try client.connect("240.240.0.1:80")
                let (accepted, _) = try listener.accept()
                #expect(sandbox.steering.originalDestination(of: accepted.fd) != nil)
            }
        }

        @Test func aSocketBoundToAPortIsCaptured() throws {
            try Sandbox.run { sandbox in
                let listener = try sandbox.outboundListener()
                for own in ["0.0.0.0:4242", "10.77.0.2:4243"] {
                    let client = try sandbox.application()
                    try client.bind(own)
                    try client.connect("240.240.0.1:80")
                    let (accepted, peer) = try listener.accept()
                    #expect(sandbox.steering.originalDestination(of: accepted.fd) != nil)
                    #expect(peer?.port == TestSocket.parse(own).port)
                }
            }
        }

        @Test func aReconnectedSocketShowsItsNewPeer() throws {
            try Sandbox.run { sandbox in
                let (listener, server) = (try sandbox.outboundListener(), try sandbox.stranger())
                try server.listen("10.77.0.1:8080")
                let client = try sandbox.application()
                try client.connect("240.240.0.1:80")
                _ = try listener.accept()
                var nobody = sockaddr()
                nobody.sa_family = sa_family_t(AF_UNSPEC)
                #expect(connect(client.fd, &nobody, socklen_t(MemoryLayout<sockaddr>.size)) == 0)
                try client.connect("10.77.0.1:8080")
                #expect(client.peer == TestSocket.parse("10.77.0.1:8080"))
            }
        }

        @Test func aConnectionNobodyCapturedHasNoDestination() throws {
            try Sandbox.run { sandbox in
                let listener = try sandbox.outboundListener()
                let intruder = try sandbox.proxySocket()
                try intruder.connect("127.0.0.1:15001")
                let (accepted, _) = try listener.accept()
                #expect(sandbox.steering.originalDestination(of: accepted.fd) == nil)
                #expect(sandbox.counter(.originMissing) == 1)
            }
        }

        @Test func noneOfManyConnectsIsMistaken() throws {
            try Sandbox.run { sandbox in
                let listener = try sandbox.outboundListener()
                var random = SystemRandomNumberGenerator()
                for _ in 0..<4 {
                    let clients = try sandbox.applications(500)
                    var wanted: [SocketAddress: SocketAddress] = [:]
                    for client in clients {
                        let ip = IPAddress(ipv4: 0xf0f0_0000 | UInt32.random(in: 1...0xfffe, using: &random))
                        let address = SocketAddress(ip: ip, port: UInt16.random(in: 1...65_535, using: &random))
                        client.setNonBlocking()
                        _ = try? client.connect(address)
                        let source = try #require(client.local)
                        wanted[source] = address
                    }
                    for _ in clients {
                        let (accepted, peer) = try listener.accept()
                        let source = try #require(peer)
                        let expected = wanted.removeValue(forKey: source)
                        try #require(expected != nil)
                        #expect(sandbox.steering.originalDestination(of: accepted.fd)?.address == expected)
                    }
                    #expect(wanted.isEmpty)
                }
                #expect(sandbox.counter(.originDelivered) == 2_000)
                #expect(sandbox.counter(.originMissing) == 0)
                #expect(sandbox.entries("nm_origins") == 0)
            }
        }

        @Test func failOpenLetsConnectsThroughOnlyWithoutAProxy() throws {
            try Sandbox.run(failMode: .open, prefixes: ["10.77.0.0/24"]) { sandbox in
                let server = try sandbox.stranger()
                try server.listen("10.77.0.1:8080")
                try sandbox.application().connect("10.77.0.1:8080")
                _ = try server.accept()
                #expect(sandbox.counter(.outboundFailedOpen) == 1)

                let (outbound, inbound) = (try sandbox.outboundListener(), try sandbox.inboundListener())
                try sandbox.steering.setInboundListeners(7, [inbound.fd])
                try sandbox.application().connect("10.77.0.1:8080")
                #expect(try sandbox.nextDestination(outbound) != nil)
            }
        }
    }
}
