// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import MeshSteering
import Testing

extension KernelTests {
    @Suite struct IPv6 {
        @Test(arguments: [true, false])
        func nativeConnectIsCapturedAndLooksUntouched(isBlocking: Bool) throws {
            try Sandbox.run { sandbox in
                let listeners = try sandbox.dualStackListeners()
                let client = try sandbox.application(family: AF_INET6)
                if isBlocking {
                    try client.connect("[fd00:77::1]:80")
                } else {
                    client.setNonBlocking()
                    #expect(client.connectError("[fd00:77::1]:80") == EINPROGRESS)
                    #expect(client.outcome() == 0)
                }
                let (accepted, peer) = try listeners.outbound.accept()
                #expect(
                    sandbox.steering.originalDestination(of: accepted.fd)
                        == OriginalDestination(address: TestSocket.parse("[fd00:77::1]:80"), workloadKey: 7))
                #expect(client.peer == TestSocket.parse("[fd00:77::1]:80"))
                #expect(client.local?.ip == TestSocket.parse("[fd01::2]:0").ip)
                #expect(peer == client.local)
                #expect(sandbox.counter(.captured) == 1)
                #expect(sandbox.counter(.originDelivered) == 1)
                #expect(sandbox.entries("nm_origins") == 0)
            }
        }

        @Test func oneListenerServesBothFamilies() throws {
            try Sandbox.run { sandbox in
                let listeners = try sandbox.dualStackListeners()
                for (family, address) in [
                    (AF_INET, "240.240.0.1:80"), (AF_INET6, "[::ffff:240.240.0.2]:80"), (AF_INET6, "[fd00:77::3]:80"),
                ] {
                    try sandbox.application(family: family).connect(address)
                    #expect(try sandbox.nextDestination(listeners.outbound)?.address == TestSocket.parse(address))
                }
            }
        }

        @Test func boundSocketsAndDevicesAreCaptured() throws {
            try Sandbox.run { sandbox in
                let listeners = try sandbox.dualStackListeners()
                for own in ["[fd01::2]:4242", "[::]:4243"] {
                    let client = try sandbox.application(family: AF_INET6)
                    try client.bind(own)
                    try client.connect("[fd00:77::1]:80")
                    let (accepted, peer) = try listeners.outbound.accept()
                    #expect(sandbox.steering.originalDestination(of: accepted.fd) != nil)
                    #expect(peer?.port == TestSocket.parse(own).port)
                }
                let client = try sandbox.application(family: AF_INET6)
                try client.bindToDevice("eth0")
                try client.connect("[fd00:77::1]:80")
                #expect(try sandbox.nextDestination(listeners.outbound)?.address.port == 80)
            }
        }

        @Test func withoutAnAddressOfTheFamilyItIsCapturedAllTheSame() throws {
            try Sandbox.run(isEnrolled: false) { sandbox in
                try sandbox.enrol { $0.addresses = [] }
                let listeners = try sandbox.dualStackListeners()
                for (family, address) in [(AF_INET, "240.240.0.1:80"), (AF_INET6, "[fd00:77::1]:80")] {
                    let client = try sandbox.application(family: family)
                    try client.connect(address)
                    #expect(client.peer == TestSocket.parse(address))
                    #expect(try sandbox.nextDestination(listeners.outbound)?.address == TestSocket.parse(address))
                }
            }
        }

        @Test func whatCannotBeAServiceIsNeverCaptured() throws {
            try Sandbox.run(prefixes: ["0.0.0.0/0", "::/0"]) { sandbox in
                _ = try sandbox.dualStackListeners()
                // Nobody answers there: that the connect was not captured shows in the counters.
                for (family, address) in [
                    (AF_INET, "10.77.0.1:53"), (AF_INET, "169.254.1.1:80"), (AF_INET, "224.0.0.1:80"),
                    (AF_INET, "255.255.255.255:80"), (AF_INET6, "[fd01::1]:53"), (AF_INET6, "[fe80::1]:80"),
                    (AF_INET6, "[ff02::1]:80"), (AF_INET6, "[::ffff:169.254.1.1]:80"),
                ] {
                    let client = try sandbox.application(family: family)
                    client.setNonBlocking()
                    _ = client.connectError(address)
                    #expect(client.peer != TestSocket.parse("127.0.0.1:15001"))
                }
                for reason in [Reason.captured, .ipv6Refused] { #expect(sandbox.counter(reason) == 0, "\(reason)") }
                // Clear text inside the mesh prefixes, so each of them shows.
                #expect(sandbox.counter(.outboundExcluded) == 8)
            }
        }

        @Test func connectionsFromOutsideReachTheProxyAndItsOwnTheApplication() throws {
            try Sandbox.run { sandbox in
                let server = try sandbox.application(family: AF_INET6)
                try server.listen("[::]:8080")
                let listeners = try sandbox.dualStackListeners()
                let client = try sandbox.stranger(family: AF_INET6)
                try client.connect("[fd01::2]:8080")
                let (accepted, peer) = try listeners.inbound.accept()
                #expect(accepted.local == TestSocket.parse("[fd01::2]:8080"))
                #expect(peer == client.local)
                let origin = sandbox.steering.inboundOrigin(of: accepted.fd)
                #expect(origin == InboundOrigin(workloadKey: 7, sourceKey: nil))

                let leg = try sandbox.proxySocket(family: AF_INET6)
                #expect(sandbox.steering.setRealClient(on: leg.fd, client: try #require(client.local)))
                try leg.connect("[fd01::2]:8080")
                let (served, shown) = try server.accept()
                #expect(shown == client.local)
                #expect(served.peer == client.local)
                #expect(sandbox.entries("nm_proxied") == 0)
            }
        }

        @Test func trafficInsideTheNamespaceIsUntouched() throws {
            try Sandbox.run(prefixes: ["::/0"]) { sandbox in
                _ = try sandbox.dualStackListeners()
                let server = try sandbox.application(family: AF_INET6)
                try server.listen("[::]:8080")
                for address in ["[fd01::2]:8080", "[::1]:8080", "[::]:8080"] {
                    let client = try sandbox.application(family: AF_INET6)
                    try client.connect(address)
                    let (_, peer) = try server.accept()
                    #expect(peer == client.local)
                }
                #expect(sandbox.counter(.captured) == 0)
                #expect(sandbox.counter(.inboundSteered) == 0)
            }
        }

        @Test(arguments: ["[::1]:15001", "[::1]:15006", "[::]:15001", "[fd01::2]:15006"])
        func theProxysOwnPortsCannotBeDialled(address: String) throws {
            try Sandbox.run { sandbox in
                let listeners = try sandbox.dualStackListeners()
                #expect(try sandbox.application(family: AF_INET6).connectError(address) == EPERM)
                #expect(sandbox.counter(.capturePortRefused) == 1)
                _ = listeners
            }
        }
    }
}
