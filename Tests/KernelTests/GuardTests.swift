// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import Glibc
import MeshLinux
import MeshModel
import Testing

@testable import MeshSteering

extension KernelTests {
    /// Programs on cgroups that are no workloads.
    @Suite struct Guards {
        @Test func childrenOfATemplateReachTheMeshOnlyWhenEnrolled() throws {
            try Sandbox.run(prefixes: ["240.240.0.0/16", "10.77.0.0/24", "fd00:77::/32"], isEnrolled: false) {
                sandbox in
                let template = try sandbox.cgroup("template")
                let child = try sandbox.cgroup("child", below: template)
                try sandbox.steering.setGuard(cgroupPath: template.path)
                let outside = try sandbox.stranger(family: AF_INET6)
                try outside.listen("[::]:8080")

                #expect(try sandbox.application(cgroup: child).connectError("10.77.0.1:8080") == ECONNREFUSED)
                #expect(
                    try sandbox.application(family: AF_INET6, cgroup: child).connectError("[fd00:77::1]:80")
                        == ECONNREFUSED)
                #expect(sandbox.counter(.unenrolledRefused) == 2)
                // Outside the mesh and loopback are nobody's business.
                try sandbox.application(family: AF_INET6, cgroup: child).connect("[fd01::1]:8080")
                let own = try sandbox.application(cgroup: child)
                try own.listen("127.0.0.1:8080")
                try sandbox.application(cgroup: child).connect("127.0.0.1:8080")

                try sandbox.enrol(cgroup: child) {
                    $0.isGuarded = true
                    $0.excludedOutboundPorts = [8080]
                }
                let listener = try sandbox.outboundListener()
                let client = try sandbox.application(cgroup: child)
                try client.connect("240.240.0.1:80")
                #expect(try sandbox.nextDestination(listener)?.workloadKey == 7)
                #expect(client.peer == TestSocket.parse("240.240.0.1:80"))
                // What the workload's programs leave alone, the guard does too.
                try sandbox.application(cgroup: child).connect("10.77.0.1:8080")
                let server = try sandbox.application(cgroup: child)
                try server.listen("10.77.0.2:9090")
                try sandbox.application(cgroup: child).connect("10.77.0.2:9090")
                #expect(sandbox.counter(.unenrolledRefused) == 2)

                try sandbox.steering.unenrol(7)
                #expect(try sandbox.application(cgroup: child).connectError("10.77.0.1:8080") == ECONNREFUSED)
                try sandbox.steering.removeGuard(cgroupPath: template.path)
                try sandbox.application(cgroup: child).connect("10.77.0.1:8080")
            }
        }

        @Test func aMarkOfAnEarlierConnectDoesNotCount() throws {
            try Sandbox.run(prefixes: ["10.77.0.0/24"], isEnrolled: false) { sandbox in
                let template = try sandbox.cgroup("template")
                let child = try sandbox.cgroup("child", below: template)
                try sandbox.steering.setGuard(cgroupPath: template.path)
                try sandbox.enrol(cgroup: child) {
                    $0.isGuarded = true
                    $0.excludedOutboundPorts = [8080]
                }
                let servers = try [8080, 8081].map { port in
                    let server = try sandbox.stranger()
                    try server.listen("10.77.0.1:\(port)")
                    return server
                }
                let client = try sandbox.application(cgroup: child)
                try client.connect("10.77.0.1:8080")
                try sandbox.steering.unenrol(7)
                client.disconnect()
                #expect(client.connectError("10.77.0.1:8081") == ECONNREFUSED)
                #expect(sandbox.counter(.unenrolledRefused) == 1)
                _ = servers
            }
        }

        @Test func aRefusalOfTheWorkloadIsCountedOnce() throws {
            try Sandbox.run(isEnrolled: false) { sandbox in
                let template = try sandbox.cgroup("template")
                let child = try sandbox.cgroup("child", below: template)
                try sandbox.steering.setGuard(cgroupPath: template.path)
                try sandbox.enrol(cgroup: child) { $0.isGuarded = true }
                #expect(
                    try sandbox.application(family: AF_INET6, cgroup: child).connectError("[fd00:77::1]:80")
                        == ECONNREFUSED)
                #expect(sandbox.counter(.ipv6Refused) == 1)
                #expect(sandbox.counter(.unenrolledRefused) == 0)
            }
        }

        @Test func aGuardOutlivesTheDaemonUntilTheNextOneHasNoUseForIt() throws {
            try Sandbox.run(isEnrolled: false) { sandbox in
                let template = try sandbox.cgroup("template")
                let child = try sandbox.cgroup("child", below: template)
                try sandbox.steering.setGuard(cgroupPath: template.path)
                sandbox.stop()
                #expect(try sandbox.application(cgroup: child).connectError("240.240.0.1:80") == ECONNREFUSED)
                try sandbox.start()
                try sandbox.steering.setGuard(cgroupPath: template.path)
                try sandbox.steering.pruneStale()
                #expect(try sandbox.application(cgroup: child).connectError("240.240.0.1:80") == ECONNREFUSED)
                #expect(sandbox.counter(.unenrolledRefused) == 2)
                sandbox.stop()
                try sandbox.start()
                try sandbox.steering.pruneStale()
                #expect(try FileTree.names(in: sandbox.steering.layout.guards) == [])
            }
        }

        @Test func aGuardThatSomebodyHasRemovedIsPutBack() throws {
            try Sandbox.run(isEnrolled: false) { sandbox in
                let template = try sandbox.cgroup("template")
                let child = try sandbox.cgroup("child", below: template)
                try sandbox.steering.setGuard(cgroupPath: template.path)
                #expect(sandbox.steering.restoreGuards().isEmpty)
                try FileTree.remove("\(sandbox.steering.layout.guards)/\(template.id)/\(NodeHook.guard4.rawValue)")
                // The kernel lets go of a link without a pin in the background.
                var lost: [(cgroupPath: String, hook: String)] = []
                for _ in 0..<500 where lost.isEmpty {
                    lost = sandbox.steering.restoreGuards()
                    if lost.isEmpty { usleep(10_000) }
                }
                #expect(lost.map(\.cgroupPath) == [template.path])
                #expect(lost.map(\.hook) == ["cgroup/connect4"])
                #expect(sandbox.steering.restoreGuards().isEmpty)
                #expect(try sandbox.application(cgroup: child).connectError("240.240.0.1:80") == ECONNREFUSED)
            }
        }

        @Test func probesPassByTheirCgroup() throws {
            try Sandbox.run { sandbox in
                let (probe, inside) = (try sandbox.cgroup("probe"), try sandbox.inside.cookie())
                for address in ["10.77.0.2:1", "[fd01::2]:1"] {
                    var value = nm_local()
                    value.netns = inside
                    value.workload = 7
                    try BPF.update(
                        map: sandbox.steering.maps[.local], key: TestSocket.parse(address).ip.words, value: value)
                }
                let server = try sandbox.application(family: AF_INET6)
                try server.listen("[::]:8080")
                #expect(try sandbox.stranger().connectError("10.77.0.2:8080") == ECONNREFUSED)
                try sandbox.steering.setProbeCgroups([probe.path])
                for (family, address) in [(AF_INET, "10.77.0.2:8080"), (AF_INET6, "[fd01::2]:8080")] {
                    do {
                        let client = try sandbox.application(family: family, cgroup: probe, in: sandbox.outside)
                        try client.connect(address)
                        #expect(try server.accept().peer == client.local)
                        #expect(sandbox.entries("nm_direct") == 1)
                        client.resetOnClose()
                    }
                    #expect(sandbox.entries("nm_direct") == 0)
                }
                #expect(sandbox.counter(.inboundProbe) == 2)
                // Another process of the host still does not.
                #expect(try sandbox.stranger().connectError("10.77.0.2:8080") == ECONNREFUSED)
                try sandbox.steering.setProbeCgroups([])
                let late = try sandbox.application(cgroup: probe, in: sandbox.outside)
                #expect(late.connectError("10.77.0.2:8080") == ECONNREFUSED)
            }
        }

        @Test func probesPassInASharedNamespace() throws {
            try Sandbox.run(isEnrolled: false) { sandbox in
                let probe = try sandbox.cgroup("probe")
                try sandbox.steering.setProbeCgroups([probe.path])
                try sandbox.enrol { $0.isShared = true }
                let server = try sandbox.application()
                try server.listen("0.0.0.0:8080")
                for address in ["127.0.0.1:8080", "10.77.0.2:8080"] {
                    do {
                        let client = try sandbox.application(cgroup: probe)
                        try client.connect(address)
                        #expect(try server.accept().peer == client.local)
                        client.resetOnClose()
                    }
                    #expect(sandbox.entries("nm_direct") == 0)
                    #expect(try sandbox.proxySocket().connectError(address) == ECONNREFUSED)
                }
                #expect(sandbox.counter(.inboundProbe) == 2)
            }
        }

        @Test func probesAndWorkloadsDoNotOverlap() throws {
            try Sandbox.run { sandbox in
                let parent = try sandbox.cgroup("parent")
                let child = try sandbox.cgroup("child", below: parent)
                func code(_ body: (Steering) throws(SteeringError) -> Void) -> SteeringError.Code? {
                    do throws(SteeringError) {
                        try body(sandbox.steering)
                        return nil
                    } catch {
                        return error.code
                    }
                }
                func code(probing path: String) -> SteeringError.Code? {
                    code { steering throws(SteeringError) in try steering.setProbeCgroups([path]) }
                }
                #expect(code(probing: sandbox.workload.path) == .conflict)
                #expect(code(probing: sandbox.proxy.path) == .conflict)
                #expect(code(probing: "/nowhere") == .vanished)
                try sandbox.steering.setProbeCgroups([parent.path])
                let enrolment = Enrolment(
                    key: 8, id: "default/child", cgroupPath: child.path, namespace: sandbox.outside, addresses: [])
                #expect(code { steering throws(SteeringError) in try steering.enrol(enrolment) } == .conflict)
                let root = try Cgroup.mountPoint()
                #expect(code { steering throws(SteeringError) in try steering.setGuard(cgroupPath: root) } == .conflict)
            }
        }
    }
}
