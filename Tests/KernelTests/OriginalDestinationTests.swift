// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import MeshSteering
import Testing

extension KernelTests {
    /// `SO_ORIGINAL_DST` for programs that ask.
    @Suite struct OriginalDestinationOption {
        @Test func clientsAndServersGetWhatConnectionTrackingWouldSay() throws {
            try Sandbox.run(isEnrolled: false) { sandbox in
                try sandbox.enrol { $0.answersOriginalDestination = true }
                let listeners = try sandbox.dualStackListeners()
                for (family, address) in [(AF_INET, "240.240.0.1:80"), (AF_INET6, "[fd00:77::1]:80")] {
                    let client = try sandbox.application(family: family)
                    try client.connect(address)
                    #expect(client.originalDestination == TestSocket.parse(address))
                    _ = try listeners.outbound.accept()
                }
                let server = try sandbox.application(family: AF_INET6)
                try server.listen("[::]:8080")
                for (family, address) in [(AF_INET, "10.77.0.2:8080"), (AF_INET6, "[fd01::2]:8080")] {
                    let leg = try sandbox.proxySocket(family: family)
                    #expect(sandbox.steering.setRealClient(on: leg.fd, client: TestSocket.parse("10.9.9.9:1234")))
                    try leg.connect(address)
                    let (served, _) = try server.accept()
                    #expect(served.originalDestination(of: family) == TestSocket.parse(address))
                    #expect(served.originalDestination(of: family == AF_INET ? AF_INET6 : AF_INET) == nil)
                }
                // A connection of the namespace with itself, which nothing steers.
                try sandbox.application().connect("127.0.0.1:8080")
                let (natural, _) = try server.accept()
                #expect(natural.originalDestination(of: AF_INET) == TestSocket.parse("127.0.0.1:8080"))
                #expect(server.originalDestination(of: AF_INET6) == nil)
            }
        }

        @Test func othersAreNotAnswered() throws {
            try Sandbox.run { sandbox in
                let listener = try sandbox.outboundListener()
                let client = try sandbox.application()
                try client.connect("240.240.0.1:80")
                #expect(client.originalDestination != TestSocket.parse("240.240.0.1:80"))
                try sandbox.enrol { $0.answersOriginalDestination = true }
                #expect(client.originalDestination == TestSocket.parse("240.240.0.1:80"))
                try sandbox.enrol()
                #expect(client.originalDestination != TestSocket.parse("240.240.0.1:80"))
                _ = listener
            }
        }
    }
}
