// SPDX-License-Identifier: Apache-2.0
import Testing

/// Tunnels over kernel TLS, under Debian's 6.1 kernel: what they do is in `Tests/tunnel-vmtest`.
@Suite(.serialized) struct KernelTunnelTests {
    /// At the MTU of a real network, where send buffers are small and the traps of kernel TLS show.
    @Test func `kernel tunnels at MTU 1500`() async throws {
        let machine = try await VirtualMachine.run(
            "tunnel-vmtest", [], options: ["--mtu", "1500", "--timeout", "900", "--file", "/usr/bin/strace"])
        machine.expectSuccess(atLeast: 48)
    }

    @Test func `kernel tunnels at the MTU of loopback`() async throws {
        let machine = try await VirtualMachine.run(
            "tunnel-vmtest", ["relay-aes128GCM-kernel-kernel", "half-close", "early-data"],
            options: ["--timeout", "300"])
        machine.expectSuccess(atLeast: 3)
    }

    /// Few connections: processors are emulated.
    @Test func `nodes that are killed while the kernel encrypts their connections`() async throws {
        let machine = try await VirtualMachine.disrupt(
            "crash --engine kernel --connections 8 --rate 0.5 --seconds 20 --pause 15 --verbose".split(separator: " ")
                .map(String.init), seconds: 600)
        #expect(machine.status == 0, "\(machine.output.suffix(30).joined(separator: "\n"))")
        // Such as: kill -9 of n1: 5 connections, 0 tunnels, …
        let carried = machine.output.filter { $0.hasPrefix("kill -9 of ") }.compactMap { line in
            line.split(separator: " ").dropFirst(4).first.flatMap { Int($0) }
        }
        #expect(carried.reduce(0, +) >= 2, "\(machine.output.suffix(30).joined(separator: "\n"))")
    }

    @Test func `a kernel without TLS`() async throws {
        let machine = try await VirtualMachine.run(
            "tunnel-vmtest", ["without"], options: ["--modules", "", "--timeout", "300"])
        machine.expectSuccess(atLeast: 1)
    }
}
