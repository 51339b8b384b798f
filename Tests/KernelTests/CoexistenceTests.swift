// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import Glibc
import MeshLinux
import MeshModel
import Testing

@testable import MeshSteering

extension KernelTests {
    /// Programs of others at the same places.
    @Suite struct Coexistence {
        /// Keeps links of others until the end of a test.
        private final class Links {
            var descriptors: [Link] = []
            final class Link {
                let descriptor: FileDescriptor
                init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }
            }
        }

        private static let hooks = [BPF_CGROUP_INET4_CONNECT, BPF_CGROUP_SOCK_OPS, BPF_SK_LOOKUP]

        private func attachForeign(_ sandbox: Sandbox, _ links: Links) throws -> [ForeignProgram] {
            let directory = try FileDescriptor(path: sandbox.workload.path)
            return try Self.hooks.map { hook in
                let program = try ForeignProgram(hook)
                let target = hook == BPF_SK_LOOKUP ? sandbox.inside.raw : directory.raw
                links.descriptors.append(Links.Link(try program.attach(to: target, hook)))
                return program
            }
        }

        @Test(arguments: [true, false])
        func foreignProgramsRunNextToOurs(isFirst: Bool) throws {
            try Sandbox.run(isEnrolled: false) { sandbox in
                let links = Links()
                var foreign = isFirst ? try self.attachForeign(sandbox, links) : []
                try sandbox.enrol()
                if !isFirst { foreign = try self.attachForeign(sandbox, links) }
                let (outbound, inbound) = (try sandbox.outboundListener(), try sandbox.inboundListener())
                try sandbox.steering.setInboundListeners(7, [inbound.fd])
                let client = try sandbox.application()
                try client.connect("240.240.0.1:80")
                #expect(try sandbox.nextDestination(outbound)?.address == TestSocket.parse("240.240.0.1:80"))
                #expect(client.peer == TestSocket.parse("240.240.0.1:80"))
                try sandbox.stranger().connect("10.77.0.2:8080")
                let (accepted, _) = try inbound.accept()
                #expect(sandbox.steering.inboundOrigin(of: accepted.fd)?.workloadKey == 7)
                for (hook, program) in zip(Self.hooks, foreign) { #expect(program.runs > 0, "\(hook)") }
                // Ours going leaves theirs.
                try sandbox.steering.unenrol(7)
                let before = foreign.map(\.runs)
                let server = try sandbox.application()
                try server.listen("0.0.0.0:8080")
                try sandbox.stranger().connect("10.77.0.2:8080")
                try sandbox.application().connect("127.0.0.1:8080")
                for (hook, (program, runs)) in zip(Self.hooks, zip(foreign, before)) {
                    #expect(program.runs > runs, "\(hook)")
                }
            }
        }

        @Test func aBackendThatALoadBalancerChoseBeforeUsIsTheDestination() throws {
            try Sandbox.run(isEnrolled: false) { sandbox in
                // 10.96.0.1, outside the mesh's prefixes, stands for 240.240.0.9.
                let balancer = try ForeignProgram(
                    BPF_CGROUP_INET4_CONNECT, translating: (from: 0x0a60_0001, to: 0xf0f0_0009))
                let directory = try FileDescriptor(path: sandbox.workload.path)
                let link = try balancer.attach(to: directory.raw, BPF_CGROUP_INET4_CONNECT)
                try sandbox.enrol()
                let listener = try sandbox.outboundListener()
                try sandbox.application().connect("10.96.0.1:80")
                let destination = try sandbox.nextDestination(listener)
                #expect(destination == OriginalDestination(address: TestSocket.parse("240.240.0.9:80"), workloadKey: 7))
                _ = link.raw
            }
        }

        @Test func aLoadBalancerAboveUsSeesTheCapturedConnect() throws {
            try Sandbox.run { sandbox in
                let parent = try FileDescriptor(path: String(sandbox.workload.path.dropLast("/workload".count)))
                let balancer = try ForeignProgram(
                    BPF_CGROUP_INET4_CONNECT, translating: (from: 0xf0f0_0001, to: 0x0a4d_0001))
                let link = try balancer.attach(to: parent.raw, BPF_CGROUP_INET4_CONNECT)
                let listener = try sandbox.outboundListener()
                try sandbox.application().connect("240.240.0.1:80")
                #expect(try sandbox.nextDestination(listener)?.address == TestSocket.parse("240.240.0.1:80"))
                #expect(balancer.runs >= 1)
                _ = link.raw
            }
        }
    }
}
