// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import CMeshABI
import Glibc
import MeshLinux
import MeshModel
import Synchronization
import Testing

@testable import MeshSteering

extension KernelTests {
    /// Programs replaced under traffic, what earlier versions left, and what is shown of it all.
    @Suite struct Upgrade {
        private final class Progress: Sendable {
            let isDone = Atomic(false)
            let updates = Atomic(0)
        }

        @Test func programsAreReplacedUnderTrafficWithoutLosingAConnection() throws {
            try Sandbox.run { sandbox in
                let listeners = (try sandbox.outboundListener(), try sandbox.inboundListener())
                try sandbox.steering.setInboundListeners(7, [listeners.1.fd])
                let clients = try sandbox.applications(1_000)
                let progress = Progress()
                let steering = sandbox.steering
                let links = try steering.status().links.map(\.pin)
                let updater = Mutex<OSThread?>(
                    try OSThread(name: "updater") {
                        while !progress.isDone.load(ordering: .acquiring) {
                            for pin in links {
                                if (try? Self.update("\(steering.layout.directory)/\(pin)")) != nil {
                                    progress.updates.add(1, ordering: .relaxed)
                                }
                            }
                        }
                    })
                defer {
                    progress.isDone.store(true, ordering: .releasing)
                    if let thread = updater.withLock({ $0.take() }) { thread.join() }
                }
                var missing = 0
                for (index, client) in clients.enumerated() {
                    let address = TestSocket.parse("240.240.\(index / 250).\(index % 250 + 1):80")
                    try client.connect(address)
                    if try sandbox.nextDestination(listeners.0)?.address != address { missing += 1 }
                    if index % 10 == 0 {
                        try sandbox.stranger().connect("10.77.0.2:8080")
                        let (accepted, _) = try listeners.1.accept()
                        if steering.inboundOrigin(of: accepted.fd)?.workloadKey != 7 { missing += 1 }
                    }
                }
                #expect(missing == 0)
                #expect(progress.updates.load(ordering: .relaxed) > 100)
            }
        }

        /// The same program again is an update all the same: the kernel swaps it in.
        private static func update(_ pin: String) throws(SystemError) {
            guard let link = try BPF.open(pinned: pin),
                let program = try BPF.program(id: BPF.info(ofLink: link.raw).prog_id)
            else { throw SystemError(call: "bpf(OBJ_GET)", errno: ENOENT) }
            try BPF.update(link: link.raw, program: program.raw)
        }

        @Test func anotherLayoutEnforcesUntilItsLastWorkloadIsEnrolledAgain() throws {
            try Sandbox.run(isEnrolled: false) { sandbox in
                let neighbour = try sandbox.cgroup("neighbour")
                try sandbox.enrol { $0.isShared = true }
                try sandbox.enrol(key: 8, cgroup: neighbour) { $0.isShared = true }
                let servers = try [(8080, nil), (8081, neighbour)].map { port, cgroup in
                    let server = try sandbox.application(cgroup: cgroup)
                    try server.listen("0.0.0.0:\(port)")
                    return server
                }
                try BPF.update(map: sandbox.steering.maps[.abi], key: UInt32(0), value: nm_abi(version: 0xffff, pad: 0))
                let (layout, cookie) = (sandbox.steering.layout, try sandbox.inside.cookie())
                sandbox.stop()
                try sandbox.start()
                let old = layout.directory + "/old-1/namespaces/\(cookie)"
                #expect(FileTree.exists(old))
                try sandbox.enrol { $0.isShared = true }
                // The neighbour's port is unknown to the new programs; the old ones still refuse.
                #expect(try sandbox.stranger().connectError("10.77.0.2:8081") == ECONNREFUSED)
                try sandbox.enrol(key: 8, cgroup: neighbour) { $0.isShared = true }
                #expect(!FileTree.exists(old))
                for (port, key) in [(UInt16(8080), UInt32(7)), (8081, 8)] {
                    try sandbox.steering.setPort(port, of: cookie, key)
                }
                let inbound = try sandbox.inboundListener()
                try sandbox.steering.setInboundListeners(7, [inbound.fd])
                try sandbox.stranger().connect("10.77.0.2:8081")
                let (accepted, _) = try inbound.accept()
                #expect(sandbox.steering.inboundOrigin(of: accepted.fd)?.workloadKey == 8)
                try sandbox.steering.pruneStale()
                #expect(!FileTree.exists(layout.directory + "/old-1"))
                _ = servers
            }
        }

        @Test func leftoversOfACrashAreCleaned() throws {
            try Sandbox.run { sandbox in
                let layout = sandbox.steering.layout
                sandbox.stop()
                for directory in ["/state-new", "/state-new/maps", "/state/workloads/12345-new", "/state/guards/1"] {
                    try FileTree.makeDirectory(layout.directory + directory)
                }
                try sandbox.start()
                try sandbox.enrol()
                try sandbox.steering.pruneStale()
                #expect(!FileTree.exists(layout.directory + "/state-new"))
                #expect(try FileTree.names(in: layout.workloads) == ["\(sandbox.workload.id)"])
                #expect(try FileTree.names(in: layout.guards) == [])
            }
        }

        @Test func theStatusShowsProgramsLinksAndMaps() throws {
            try Sandbox.run { sandbox in
                let status = try sandbox.steering.status()
                let connect = try #require(status.programs.first { $0.name == "nm_connect4" })
                #expect(connect.hook == "cgroup/connect4")
                #expect(connect.verifiedInstructions > 100 && connect.jitedSize > 0)
                #expect(connect.tag.count == 16)
                #expect(connect.loadedAt + 60_000_000_000 > Clock.wall && connect.loadedAt < Clock.wall + 1_000_000_000)
                let pins = status.links.map(\.pin)
                #expect(pins.contains("state/proxy/sockops"))
                #expect(pins.contains("state/workloads/\(sandbox.workload.id)/connect6"))
                for link in status.links {
                    #expect(link.isAttached, "\(link.pin)")
                    #expect(status.programs.contains { $0.id == link.programID }, "\(link.pin)")
                }
                let inbound = try #require(status.links.first { $0.hook == "sk_lookup" })
                #expect(inbound.target == "netns:\(sandbox.inside.inode)")
                #expect(status.links.first { $0.pin.hasSuffix("connect6") }?.target == sandbox.workload.path)
                #expect(status.maps.count == SteeringMaps.Name.allCases.count)
                let origins = try #require(status.maps.first { $0.name == "nm_origins" })
                #expect(origins.type == "LRU_HASH" && origins.entries == 0 && origins.capacity == 4_096)
                #expect(origins.memoryBytes > 100_000)
                #expect(status.maps.first { $0.name == "nm_counters" }?.entries == nil)

                try removeCgroup(sandbox.workload.path)
                let dead = try sandbox.steering.status().links.filter { !$0.isAttached }.map(\.hook)
                #expect(dead.contains("cgroup/connect4") && !dead.contains("sk_lookup"))
            }
        }

        /// The kernel's test run knows no interface, so the variant for shared namespaces is asked, which needs none.
        @Test func theLookupProgramAloneDecidesAsAttached() throws {
            try Sandbox.run(isEnrolled: false) { sandbox in
                try sandbox.enrol { $0.isShared = true }
                let cookie = try sandbox.inside.cookie()
                try sandbox.steering.setPort(80, of: cookie, 7)
                guard let link = try BPF.open(pinned: sandbox.steering.layout.namespace(cookie)),
                    let program = try BPF.program(id: BPF.info(ofLink: link.raw).prog_id)
                else { throw SystemError(call: "bpf(OBJ_GET)", errno: ENOENT) }
                let raw = program.raw
                func isPassed(_ source: String, _ destination: String, isTCP: Bool = true) throws -> Bool {
                    try Self.verdict(of: raw, source, destination, isTCP: isTCP) == SK_PASS.rawValue
                }
                for (source, destination) in [
                    ("10.77.0.1:5555", "10.77.0.2:80"), ("[fd01::1]:5555", "[fd01::2]:80"),
                    ("127.0.0.1:5555", "127.0.0.1:80"), ("[::1]:5555", "[::1]:80"),
                ] {
                    #expect(try !isPassed(source, destination), "\(source)")
                    #expect(try isPassed(source, destination, isTCP: false), "\(source)")
                }
                #expect(try isPassed("10.77.0.1:5555", "10.77.0.2:81"))
                #expect(try isPassed("[fd01::1]:5555", "[fd01::2]:81"))
                var flow = nm_flow_key()
                flow.netns = cookie
                flow.source_ip = TestSocket.parse("10.77.0.1:1").ip.words
                flow.destination_ip = TestSocket.parse("10.77.0.2:1").ip.words
                flow.source_port = 5555
                flow.destination_port = 80
                for (kind, source, expected) in [
                    (NM_FLOW_DIRECT, UInt32(8), true), (NM_FLOW_PROBE, 0, true), (NM_FLOW_LOCAL, 8, false),
                    (NM_FLOW_LOCAL, 7, true),
                ] {
                    var value = nm_direct_flow()
                    value.kind = UInt16(kind)
                    value.source = source
                    try BPF.update(map: sandbox.steering.maps[.direct], key: flow, value: value)
                    #expect(try isPassed("10.77.0.1:5555", "10.77.0.2:80") == expected, "\(kind)")
                }
                #expect(sandbox.counter(.inboundRefused) == 5)
                _ = program.raw
            }
        }

        /// `struct bpf_sk_lookup` written out: the program's result for a SYN or datagram.
        private static func verdict(
            of program: CInt, _ source: String, _ destination: String, isTCP: Bool
        ) throws(SystemError) -> UInt32 {
            var context = [UInt8](repeating: 0, count: 72)
            let (from, to) = (TestSocket.parse(source), TestSocket.parse(destination))
            func put<T>(_ value: T, at offset: Int) {
                context.withUnsafeMutableBytes { $0.storeBytes(of: value, toByteOffset: offset, as: T.self) }
            }
            put(UInt32(from.ip.isIPv4 ? AF_INET : AF_INET6), at: 8)
            put(UInt32(isTCP ? IPPROTO_TCP : IPPROTO_UDP), at: 12)
            if from.ip.isIPv4 {
                put(from.ip.words.3, at: 16)
                put(to.ip.words.3, at: 40)
            } else {
                put(from.ip.words, at: 20)
                put(to.ip.words, at: 44)
            }
            put(from.port.bigEndian, at: 36)
            put(UInt32(to.port), at: 60)
            var options = bpf_test_run_opts()
            options.sz = BPF.size(through: \bpf_test_run_opts.batch_size)
            let code = context.withUnsafeBytes { bytes in
                options.ctx_in = bytes.baseAddress
                options.ctx_size_in = UInt32(bytes.count)
                return bpf_prog_test_run_opts(program, &options)
            }
            guard code == 0 else { throw SystemError(call: "bpf(PROG_TEST_RUN)", errno: -code) }
            return options.retval
        }
    }
}
