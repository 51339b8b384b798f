// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import Glibc
import MeshLinux
import MeshModel
import Testing

@testable import MeshSteering

extension KernelTests {
    /// Exclusions and fail modes, which change while connections are made.
    @Suite struct Rules {
        private static let prefixes = ["10.77.0.0/24", "fd01::/64"]

        /// Servers outside, on ports 8080 and 8081 of both families.
        private func servers(_ sandbox: Sandbox) throws -> [TestSocket] {
            try [8080, 8081].map { port in
                let server = try sandbox.stranger(family: AF_INET6)
                try server.listen("[::]:\(port)")
                return server
            }
        }

        private func reaches(_ sandbox: Sandbox, _ address: String) throws -> Bool {
            let family = address.hasPrefix("[") ? AF_INET6 : AF_INET
            let before = sandbox.counter(.outboundExcluded)
            let code = try sandbox.application(family: family).connectError(address)
            #expect(code == 0 || code == ECONNREFUSED)
            #expect(sandbox.counter(.outboundExcluded) == before + (code == 0 ? 1 : 0))
            return code == 0
        }

        @Test func globalExclusionsChangeLive() throws {
            try Sandbox.run(prefixes: Self.prefixes) { sandbox in
                let (servers, steering) = (try self.servers(sandbox), sandbox.steering)
                #expect(try !self.reaches(sandbox, "10.77.0.1:8080"))
                let prefixes = ["10.77.0.0/31", "fd01::1/128"].compactMap { IPPrefix($0) }
                try steering.setExclusions(prefixes: prefixes, outboundPorts: [], inboundPorts: [])
                for address in ["10.77.0.1:8080", "[::ffff:10.77.0.1]:8081", "[fd01::1]:8080"] {
                    #expect(try self.reaches(sandbox, address), "\(address)")
                }
                try steering.setExclusions(prefixes: [], outboundPorts: [8081], inboundPorts: [])
                #expect(try !self.reaches(sandbox, "10.77.0.1:8080"))
                #expect(try self.reaches(sandbox, "10.77.0.1:8081"))
                #expect(try self.reaches(sandbox, "[fd01::1]:8081"))
                try steering.setExclusions(prefixes: [], outboundPorts: [], inboundPorts: [])
                #expect(try !self.reaches(sandbox, "10.77.0.1:8081"))
                #expect(sandbox.entries("nm_excluded_prefixes") == 0)
                #expect(sandbox.entries("nm_excluded_ports") == 0)
                _ = servers
            }
        }

        @Test func aWideIPv6ExclusionDoesNotCoverIPv4() throws {
            try Sandbox.run(prefixes: Self.prefixes) { sandbox in
                let servers = try self.servers(sandbox)
                try sandbox.steering.setExclusions(
                    prefixes: [try #require(IPPrefix("::/0"))], outboundPorts: [], inboundPorts: [])
                #expect(try !self.reaches(sandbox, "10.77.0.1:8080"))
                #expect(try self.reaches(sandbox, "[fd01::1]:8080"))
                _ = servers
            }
        }

        @Test func aWorkloadsOwnExclusionsAreItsOwnAndGoWithIt() throws {
            try Sandbox.run(prefixes: Self.prefixes, isEnrolled: false) { sandbox in
                let servers = try self.servers(sandbox)
                let other = try sandbox.cgroup("other")
                try sandbox.enrol {
                    $0.isShared = true
                    $0.excludedPrefixes = [IPPrefix(TestSocket.parse("[fd01::1]:1").ip)]
                    $0.excludedOutboundPorts = [8081]
                }
                try sandbox.enrol(key: 8, cgroup: other) { $0.isShared = true }
                #expect(try !self.reaches(sandbox, "10.77.0.1:8080"))
                #expect(try self.reaches(sandbox, "10.77.0.1:8081"))
                #expect(try self.reaches(sandbox, "[fd01::1]:8080"))
                #expect(try sandbox.application(cgroup: other).connectError("10.77.0.1:8081") == ECONNREFUSED)
                try sandbox.enrol { $0.isShared = true }
                #expect(try !self.reaches(sandbox, "10.77.0.1:8081"))
                #expect(sandbox.entries("nm_excluded_ports") == 0)
                try sandbox.enrol {
                    $0.isShared = true
                    $0.excludedOutboundPorts = [8081]
                }
                try sandbox.steering.unenrol(7)
                #expect(sandbox.entries("nm_excluded_ports") == 0)
                _ = servers
            }
        }

        @Test(arguments: [true, false])
        func excludedInboundPortsAreNotSteered(isGlobal: Bool) throws {
            try Sandbox.run(isEnrolled: false) { sandbox in
                try sandbox.enrol { if !isGlobal { $0.excludedInboundPorts = [9100] } }
                if isGlobal {
                    try sandbox.steering.setExclusions(prefixes: [], outboundPorts: [], inboundPorts: [9100])
                }
                let server = try sandbox.application()
                try server.listen("0.0.0.0:9100")
                let client = try sandbox.stranger()
                try client.connect("10.77.0.2:9100")
                #expect(try server.accept().peer == client.local)
                #expect(try sandbox.stranger().connectError("10.77.0.2:9101") == ECONNREFUSED)
                #expect(sandbox.counter(.inboundExcluded) == 1)
                #expect(sandbox.counter(.inboundRefused) == 1)
            }
        }

        @Test func theNodesFailModeChangesLiveAndAWorkloadsOwnStays() throws {
            try Sandbox.run(prefixes: Self.prefixes, isEnrolled: false) { sandbox in
                let servers = try self.servers(sandbox)
                let closed = try sandbox.cgroup("closed")
                try sandbox.enrol { $0.isShared = true }
                try sandbox.enrol(key: 8, cgroup: closed) {
                    $0.isShared = true
                    $0.failMode = .closed
                }
                func code(_ cgroup: Cgroup? = nil) throws -> CInt {
                    try sandbox.application(cgroup: cgroup).connectError("10.77.0.1:8080")
                }
                #expect(try code() == ECONNREFUSED)
                try sandbox.steering.setFailMode(.open)
                #expect(try code() == 0)
                #expect(try code(closed) == ECONNREFUSED)
                let server = try sandbox.application()
                try server.listen("0.0.0.0:8080")
                try sandbox.stranger().connect("10.77.0.2:8080")
                #expect(sandbox.counter(.inboundFailedOpen) == 1)
                try sandbox.steering.setFailMode(.closed)
                #expect(try code() == ECONNREFUSED)
                #expect(try sandbox.stranger().connectError("10.77.0.2:8080") == ECONNREFUSED)
                #expect(sandbox.entries("nm_fail_open") == 0)
                _ = servers
            }
        }

        @Test func settingsAndExclusionsSurviveARestart() throws {
            try Sandbox.run(prefixes: Self.prefixes) { sandbox in
                let servers = try self.servers(sandbox)
                try sandbox.steering.setExclusions(prefixes: [], outboundPorts: [8081], inboundPorts: [])
                sandbox.stop()
                try sandbox.start()
                #expect(try self.reaches(sandbox, "10.77.0.1:8081"))
                try sandbox.enrol()
                #expect(try self.reaches(sandbox, "10.77.0.1:8081"))
                try sandbox.steering.setExclusions(prefixes: [], outboundPorts: [], inboundPorts: [])
                #expect(try !self.reaches(sandbox, "10.77.0.1:8081"))
                _ = servers
            }
        }
    }
}
