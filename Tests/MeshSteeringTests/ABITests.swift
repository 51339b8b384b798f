// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshLinux
import MeshModel
import MeshPrograms
import Testing

@testable import MeshSteering

struct ABITests {
    @Test func structsHaveNoPaddingOfTheirOwn() {
        // The kernel sees `size` bytes; a Swift stride beyond that would read past them in arrays.
        #expect(MemoryLayout<nm_config>.size == 24)
        #expect(MemoryLayout<nm_asked>.size == 64)
        #expect(MemoryLayout<nm_query_key>.size == 16)
        #expect(MemoryLayout<nm_endpoint>.size == 20)
        #expect(MemoryLayout<nm_workload>.size == 304)
        #expect(MemoryLayout<nm_socket>.size == 48)
        #expect(MemoryLayout<nm_flow_key>.size == 48)
        #expect(MemoryLayout<nm_flow_value>.size == 24)
        #expect(MemoryLayout<nm_prefix_key>.size == 20)
        #expect(MemoryLayout<nm_settings>.size == 24)
        #expect(MemoryLayout<nm_direct_flow>.size == 128)
        #expect(MemoryLayout<nm_stream>.size == 32)
        #expect(MemoryLayout<nm_join>.size == 64)
        #expect(MemoryLayout<nm_exclusion_key>.size == 24)
        #expect(MemoryLayout<nm_excluded_port>.size == 8)
        #expect(MemoryLayout<nm_namespace>.size == 16)
        #expect(MemoryLayout<nm_port_key>.size == 16)
        #expect(MemoryLayout<nm_port>.size == 8)
        #expect(MemoryLayout<nm_local>.size == 32)
        #expect(MemoryLayout<nm_enrolment>.size == 24)
        #expect(MemoryLayout<nm_event>.size == 128)
    }

    @Test(arguments: ["10.1.2.3:80", "[2001:db8::1]:65535", "127.0.0.1:1"])
    func endpointsSurvive(text: String) throws {
        let address = try #require(SocketAddress(text))
        #expect(nm_endpoint(address).socketAddress == address)
    }

    @Test func wordsAreInNetworkOrder() throws {
        let words = try #require(IPAddress("1.2.3.4")).words
        withUnsafeBytes(of: words) { #expect(Array($0) == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 1, 2, 3, 4]) }
    }

    @Test(arguments: ["10.0.0.0/8", "0.0.0.0/0", "10.1.2.3/32", "fd00::/8", "::/0", "2001:db8::1/128"])
    func prefixesSurvive(text: String) throws {
        let prefix = try #require(IPPrefix(text))
        #expect(IPPrefix(nm_prefix_key(prefix), family: prefix.family) == prefix)
    }

    @Test func aPrefixOfTheWrongFamilyIsNone() throws {
        let prefix = try #require(IPPrefix("10.0.0.0/8"))
        #expect(IPPrefix(nm_prefix_key(prefix), family: 6) == nil)
    }

    @Test func everyHookHasAProgram() {
        let programs: [EmbeddedProgram] = [
            .connect4, .connect6, .getpeername4, .getpeername6, .workloadSockops, .proxySockops, .inbound, .maps,
            .probeSockops, .guard4, .guard6, .getsockopt, .sockmap, .taken, .received, .sendmsg4,
            .sendmsg6, .recvmsg4, .recvmsg6,
        ]
        for program in programs { #expect(program.object.prefix(4) == [0x7f, 0x45, 0x4c, 0x46], "\(program.name)") }
    }

    @Test(arguments: ["", "a/b", "..", "a.b", "ä", String(repeating: "x", count: 65)])
    func badInstanceNamesAreRefused(name: String) {
        #expect(throws: SteeringError.self) { try PinLayout(bpffs: "/sys/fs/bpf", instance: name) }
    }

    @Test func pinsLieBelowTheInstance() throws {
        let layout = try PinLayout(bpffs: "/sys/fs/bpf", instance: "default")
        #expect(layout.proxySockops == "/sys/fs/bpf/nodemesh/default/state/proxy/sockops")
        #expect(layout.workload(42) == "/sys/fs/bpf/nodemesh/default/state/workloads/42")
    }
}
