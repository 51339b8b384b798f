// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import MeshSteering
import Testing

/// `IPPROTO_MPTCP`, `MSG_FASTOPEN` and `TCP_FASTOPEN_CONNECT` of the kernel's headers.
private let (multipath, fastOpen, fastOpenConnect): (CInt, CInt, CInt) = (262, 0x2000_0000, 30)

extension KernelTests {
    @Suite struct ConnectKinds {
        private static let destinations: [(CInt, String)] = [
            (AF_INET, "240.240.0.1:80"), (AF_INET6, "[fd00:77::1]:80"),
        ]

        @Test(arguments: [0, 1])
        func aMultipathSocketIsCapturedAndShowsWhatItDialled(index: Int) throws {
            let (family, address) = Self.destinations[index]
            try Sandbox.run { sandbox in
                let listeners = try sandbox.dualStackListeners()
                do {
                    let client = try sandbox.application(family: family, protocol: multipath)
                    try client.connect(address)
                    let (accepted, _) = try listeners.outbound.accept()
                    let destination = sandbox.steering.originalDestination(of: accepted.fd)
                    #expect(destination == OriginalDestination(address: TestSocket.parse(address), workloadKey: 7))
                    #expect(client.peer == TestSocket.parse(address))
                    #expect(sandbox.entries("nm_origins") == 1)
                    // Both ends close; the kernel frees the subflow at once after a reset.
                    accepted.resetOnClose()
                }
                for _ in 0..<200 where sandbox.entries("nm_origins") != 0 { usleep(10_000) }
                #expect(sandbox.entries("nm_origins") == 0)
            }
        }

        @Test(arguments: [0, 1])
        func dataWithTheConnectIsCaptured(index: Int) throws {
            let (family, address) = Self.destinations[index]
            try Sandbox.run { sandbox in
                let listeners = try sandbox.dualStackListeners()
                let client = try sandbox.application(family: family)
                #expect(client.send("hello", to: address, flags: fastOpen) == 5)
                let (accepted, _) = try listeners.outbound.accept()
                #expect(sandbox.steering.originalDestination(of: accepted.fd)?.address == TestSocket.parse(address))
                #expect(accepted.receive(5) == "hello")
                #expect(client.peer == TestSocket.parse(address))
            }
        }

        @Test(arguments: [0, 1])
        func aConnectPutOffUntilTheFirstWriteIsCaptured(index: Int) throws {
            let (family, address) = Self.destinations[index]
            try Sandbox.run { sandbox in
                let listeners = try sandbox.dualStackListeners()
                var on: CInt = 1
                for _ in 0..<2 {
                    let client = try sandbox.application(family: family)
                    let size = socklen_t(MemoryLayout<CInt>.size)
                    #expect(setsockopt(client.fd, CInt(IPPROTO_TCP), fastOpenConnect, &on, size) == 0)
                    try client.connect(address)
                    #expect(Glibc.send(client.fd, "hello", 5, 0) == 5)
                    let (accepted, _) = try listeners.outbound.accept()
                    #expect(sandbox.steering.originalDestination(of: accepted.fd)?.address == TestSocket.parse(address))
                    #expect(accepted.receive(5) == "hello")
                }
            }
        }

        @Test func aServerWithAMultipathListenerSeesItsClient() throws {
            try Sandbox.run { sandbox in
                let server = try sandbox.application(protocol: multipath)
                try server.listen("0.0.0.0:8080")
                let leg = try sandbox.proxySocket()
                #expect(sandbox.steering.setRealClient(on: leg.fd, client: TestSocket.parse("10.9.9.9:1234")))
                try leg.connect("10.77.0.2:8080")
                let (served, shown) = try server.accept()
                #expect(shown == TestSocket.parse("10.9.9.9:1234"))
                #expect(served.peer == TestSocket.parse("10.9.9.9:1234"))
            }
        }

        @Test func datagramsOfBothFamiliesAreUntouched() throws {
            try Sandbox.run(prefixes: ["0.0.0.0/0", "::/0"]) { sandbox in
                for (family, address) in [(AF_INET, "10.77.0.1:80"), (AF_INET6, "[fd01::1]:80")] {
                    let client = try sandbox.application(family: family, type: SOCK_DGRAM)
                    try client.connect(address)
                    #expect(client.peer == TestSocket.parse(address))
                }
                #expect(sandbox.steering.counters().values.allSatisfy { $0 == 0 })
            }
        }
    }
}
