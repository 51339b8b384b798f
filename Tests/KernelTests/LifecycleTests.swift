// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import CMeshABI
import Glibc
import MeshLinux
import MeshModel
import Testing

@testable import MeshSteering

extension KernelTests {
    @Suite struct Lifecycle {
        private func expectCaptured(
            _ sandbox: Sandbox, key: UInt32, _ listener: TestSocket, to address: String = "240.240.0.1:80"
        ) throws {
            try sandbox.application().connect(address)
            let destination = try sandbox.nextDestination(listener)
            #expect(destination?.workloadKey == key)
        }

        @Test func unenrolledWorkloadsAreUntouched() throws {
            try Sandbox.run(prefixes: ["10.77.0.0/24"]) { sandbox in
                let server = try sandbox.stranger()
                try server.listen("10.77.0.1:8080")
                #expect(sandbox.steering.enrolled().map(\.key) == [7])
                try sandbox.steering.unenrol(7)
                #expect(sandbox.steering.enrolled().isEmpty)
                try sandbox.application().connect("10.77.0.1:8080")
                _ = try server.accept()
                for map in ["nm_enrolled", "nm_namespaces", "nm_listeners"] { #expect(sandbox.entries(map) == 0) }
                #expect(try FileTree.names(in: sandbox.steering.layout.workloads) == [])
                #expect(throws: SteeringError.self) { try sandbox.steering.unenrol(7) }
                // And again: what the cgroup's storage held must not matter.
                try sandbox.enrol(key: 9)
                try self.expectCaptured(sandbox, key: 9, try sandbox.outboundListener(), to: "10.77.0.1:80")
            }
        }

        @Test func aRestartedDaemonAdoptsWhatIsPinned() throws {
            try Sandbox.run { sandbox in
                let links = try self.linkIDs(sandbox)
                do {
                    let listener = try sandbox.outboundListener()
                    try self.expectCaptured(sandbox, key: 7, listener)
                }
                sandbox.stop()
                #expect(try sandbox.application().connectError("240.240.0.1:80") == ECONNREFUSED)

                try sandbox.start()
                #expect(sandbox.steering.enrolled().map(\.id) == [nil])
                let listener = try sandbox.outboundListener()
                // Steered all along, under the key of the earlier run until it is enrolled anew.
                try self.expectCaptured(sandbox, key: 7, listener)
                try sandbox.enrol(key: 8)
                try self.expectCaptured(sandbox, key: 8, listener)
                #expect(try self.linkIDs(sandbox) == links)
                #expect(sandbox.entries("nm_prefixes") == 2)
                #expect(try sandbox.steering.pruneStale().isEmpty)
                try self.expectCaptured(sandbox, key: 8, listener)
                #expect(sandbox.counter(.captured) == 5)
            }
        }

        private func linkIDs(_ sandbox: Sandbox) throws -> [UInt32] {
            let layout = sandbox.steering.layout
            let names = try FileTree.names(in: layout.workload(sandbox.workload.id)) ?? []
            let cookie = try sandbox.inside.cookie()
            return try (names.map { layout.workload(sandbox.workload.id) + "/" + $0 } + [layout.namespace(cookie)]).map
            { pin in
                guard let link = try BPF.open(pinned: pin) else { throw SystemError(call: "bpf", errno: ENOENT) }
                return try BPF.info(ofLink: link.raw).id
            }
        }

        @Test func prunesWorkloadsOfAnEarlierRun() throws {
            try Sandbox.run(prefixes: ["10.77.0.0/24"]) { sandbox in
                let server = try sandbox.stranger()
                try server.listen("10.77.0.1:8080")
                sandbox.stop()
                try sandbox.start()
                #expect(try sandbox.application().connectError("10.77.0.1:8080") == ECONNREFUSED)
                try sandbox.steering.pruneStale()
                #expect(sandbox.steering.enrolled().isEmpty)
                try sandbox.application().connect("10.77.0.1:8080")
            }
        }

        @Test func anotherLayoutIsReplacedWorkloadByWorkload() throws {
            try Sandbox.run { sandbox in
                // Eight bytes, as `struct nm_abi`: a version of the future.
                try BPF.update(map: sandbox.steering.maps[.abi], key: UInt32(0), value: UInt64(0xffff))
                let layout = sandbox.steering.layout
                sandbox.stop()

                try sandbox.start()
                #expect(FileTree.exists(layout.directory + "/old-1"))
                #expect(sandbox.steering.enrolled().isEmpty)
                let listener = try sandbox.outboundListener()
                // The old programs still capture; their records go to maps nobody reads: closed.
                try sandbox.application().connect("240.240.0.1:80")
                #expect(try sandbox.nextDestination(listener) == nil)

                try sandbox.steering.setPrefixes([try #require(IPPrefix("240.240.0.0/16"))])
                try sandbox.enrol(key: 8)
                try self.expectCaptured(sandbox, key: 8, listener)
                try sandbox.steering.pruneStale()
                #expect(!FileTree.exists(layout.directory + "/old-1"))
                try self.expectCaptured(sandbox, key: 8, listener)
            }
        }

        @Test func aRemovedCgroupIsPruned() throws {
            try Sandbox.run { sandbox in
                try removeCgroup(sandbox.workload.path)
                #expect(try sandbox.steering.pruneStale().map(\.id) == ["default/test"])
                #expect(sandbox.steering.enrolled().isEmpty)
                for map in ["nm_enrolled", "nm_namespaces"] { #expect(sandbox.entries(map) == 0) }
                #expect(try FileTree.names(in: sandbox.steering.layout.workloads) == [])
            }
        }

        private func missing(_ sandbox: Sandbox, until isRight: ([String]) -> Bool) -> [String] {
            // The kernel lets go of a link without a pin in the background.
            for _ in 0..<500 {
                let hooks = sandbox.steering.missingPrograms().map(\.hook)
                if isRight(hooks) { return hooks }
                usleep(10_000)
            }
            return sandbox.steering.missingPrograms().map(\.hook)
        }

        @Test func aWorkloadThatLosesItsProgramsStaysEnrolled() throws {
            try Sandbox.run { sandbox in
                let listener = try sandbox.outboundListener()
                let layout = sandbox.steering.layout
                #expect(sandbox.steering.missingPrograms().isEmpty)
                try FileTree.remove("\(layout.workload(sandbox.workload.id))/\(Hook.connect4.rawValue)")
                try FileTree.remove(layout.namespace(try sandbox.inside.cookie()))
                let hooks = ["cgroup/connect4", "sk_lookup"]
                #expect(self.missing(sandbox) { $0 == hooks } == hooks)
                #expect(try sandbox.steering.pruneStale().isEmpty)
                #expect(sandbox.steering.enrolled().map(\.id) == ["default/test"])
                #expect(sandbox.steering.missingPrograms().map(\.hook) == hooks)
                for map in ["nm_enrolled", "nm_namespaces"] { #expect(sandbox.entries(map) == 1) }

                try sandbox.enrol(key: 7)
                #expect(sandbox.steering.missingPrograms().isEmpty)
                try self.expectCaptured(sandbox, key: 7, listener)
            }
        }

        @Test func linksThatSomebodyHasCutAreNoEndOfANamespaceThatIsKnown() throws {
            try Sandbox.run { sandbox in
                let listener = try sandbox.outboundListener()
                let layout = sandbox.steering.layout
                let cookie = try sandbox.inside.cookie()
                for pin in [
                    "\(layout.workload(sandbox.workload.id))/\(Hook.connect4.rawValue)", layout.namespace(cookie),
                ] {
                    guard let link = try BPF.open(pinned: pin) else {
                        throw SystemError(call: "bpf(OBJ_GET)", errno: ENOENT)
                    }
                    #expect(bpf_link_detach(link.raw) == 0)
                }
                let hooks = ["cgroup/connect4", "sk_lookup"]
                #expect(self.missing(sandbox) { $0 == hooks } == hooks)
                #expect(try sandbox.steering.pruneStale(keeping: [7]).isEmpty)
                #expect(sandbox.steering.missingPrograms().map(\.hook) == hooks)
                try sandbox.enrol(key: 7)
                #expect(sandbox.steering.missingPrograms().isEmpty)
                try self.expectCaptured(sandbox, key: 7, listener)
            }
        }

        @Test func aRemovedNamespaceIsPruned() throws {
            try Sandbox.run { sandbox in
                sandbox.dropNamespaces()
                // The kernel dismantles namespaces in the background.
                var gone: [EnrolledCgroup] = []
                for _ in 0..<500 where gone.isEmpty {
                    gone = try sandbox.steering.pruneStale()
                    if gone.isEmpty { usleep(10_000) }
                }
                #expect(gone.map(\.key) == [7])
                #expect(try FileTree.names(in: sandbox.steering.layout.workloads) == [])
            }
        }

        @Test func prefixesAreReplaced() throws {
            try Sandbox.run { sandbox in
                let prefixes = ["10.1.0.0/16", "240.240.0.0/16", "fd00::/8"].compactMap { IPPrefix($0) }
                try sandbox.steering.setPrefixes(prefixes)
                #expect(sandbox.entries("nm_prefixes") == 3)
                #expect(try sandbox.application().connectError("10.1.2.3:80") == ECONNREFUSED)
                try sandbox.steering.setPrefixes([])
                #expect(sandbox.entries("nm_prefixes") == 0)
            }
        }

        @Test func onlyOneDaemonPerInstance() throws {
            try Sandbox.run { sandbox in
                let first = sandbox.steering
                #expect(throws: SteeringError.self) { try sandbox.start() }
                do throws(SteeringError) {
                    try Steering.removeAll(instance: sandbox.instance)
                    Issue.record("removed under a running daemon")
                } catch {
                    #expect(error.code == .inUse)
                }
                _ = first.counters()
            }
        }

        @Test func cleaningUpTwiceIsFine() throws {
            try Sandbox.run { sandbox in
                sandbox.stop()
                try Steering.removeAll(instance: sandbox.instance)
                try Steering.removeAll(instance: sandbox.instance)
                #expect(!FileTree.exists("/sys/fs/bpf/nodemesh/\(sandbox.instance)"))
            }
        }

        @Test func impossibleEnrolmentsAreRefusedAndLeaveNothing() throws {
            try Sandbox.run(isEnrolled: false) { sandbox in
                func code(_ path: String, _ namespace: NetworkNamespace) -> SteeringError.Code? {
                    do throws(SteeringError) {
                        let enrolment = Enrolment(
                            key: 3, id: "default/odd", cgroupPath: path, namespace: namespace, addresses: [])
                        try sandbox.steering.enrol(enrolment)
                        return nil
                    } catch {
                        return error.code
                    }
                }
                #expect(code("/nowhere", sandbox.inside) == .vanished)
                #expect(code("/tmp", sandbox.inside) == .invalid)
                #expect(code(sandbox.proxy.path, sandbox.inside) == .conflict)
                #expect(code(sandbox.workload.path, try NetworkNamespace.ofProcess()) == .conflict)
                try sandbox.enrol()
                #expect(code(sandbox.workload.path, sandbox.outside) == .conflict)
                let child = sandbox.workload.path + "/child"
                try FileTree.makeDirectory(child)
                #expect(code(child, sandbox.outside) == .conflict)
                try removeCgroup(child)
                #expect(sandbox.steering.enrolled().map(\.key) == [7])
                #expect(sandbox.entries("nm_enrolled") == 1)
            }
        }

        @Test func aForeignExclusiveProgramIsExplained() throws {
            try Sandbox.run(isEnrolled: false) { sandbox in
                let program = try #require(sandbox.steering.programs[.connect6])
                let directory = try FileDescriptor(path: sandbox.workload.path)
                #expect(bpf_prog_attach(program.raw, directory.raw, BPF_CGROUP_INET6_CONNECT, 0) == 0)
                do throws(SteeringError) {
                    try sandbox.steering.enrol(
                        Enrolment(
                            key: 7, id: "default/test", cgroupPath: sandbox.workload.path, namespace: sandbox.inside,
                            addresses: []))
                    Issue.record("enrolled next to an exclusive program")
                } catch {
                    #expect(error.code == .foreignProgram)
                    #expect(error.message.contains(sandbox.workload.path))
                }
                #expect(try FileTree.names(in: sandbox.steering.layout.workloads) == [])
                #expect(sandbox.entries("nm_enrolled") == 0)
                #expect(bpf_prog_detach(directory.raw, BPF_CGROUP_INET6_CONNECT) == 0)
                try sandbox.enrol()
            }
        }

        @Test func theProbeFindsEverythingNeededAndLeavesNothing() throws {
            try #require(geteuid() == 0, "kernel tests need root")
            let features = KernelProbe.run()
            for feature in features where feature.isRequired {
                #expect(feature.isPresent, "\(feature.name): \(feature.detail)")
            }
            #expect(Set(features.map(\.name)).count == features.count)
            let after = try FileTree.names(in: Cgroup.mountPoint())
            #expect(!(after ?? []).contains { $0.hasPrefix("nodemesh-check-\(getpid())") })
        }

        @Test func inactiveStorageRefuses() throws {
            try Sandbox.run { sandbox in
                let listener = try sandbox.outboundListener()
                try BPF.update(
                    map: sandbox.steering.maps[.workloads], key: sandbox.workload.id, value: nm_workload())
                #expect(try sandbox.application().connectError("240.240.0.1:80") == ECONNREFUSED)
                #expect(sandbox.counter(.inactiveRefused) == 1)
                _ = listener
            }
        }
    }
}
