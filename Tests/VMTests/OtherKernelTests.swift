// SPDX-License-Identifier: Apache-2.0
import Testing

/// The tests of this package that a kernel can break, under each kernel of `Tools/vm list`.
@Suite(.serialized) struct OtherKernelTests {
    /// Whole meshes: what steering, streams, policy and tunnels promise, and what is left when a daemon is killed. Not the
    /// bulk of them, which takes an emulated processor too long.
    static let lab = [
        "IntegrationTests.TwoNodes/Streams/(addresses|service|unknownDestination|itself)",
        "IntegrationTests.TwoNodes/Streams/(client|server)(HalfClose|Reset)",
        "IntegrationTests.TwoNodes/Policy/(denyWins|strict)\\(",
        "IntegrationTests.TwoNodes/Programs/curl",
        "IntegrationTests.TwoNodes/Telemetry/accessLog",
        "IntegrationTests.Lifecycle/clientDaemonKilled",
    ]

    /// What is left out are rules and bookkeeping of our own, which go the same way under every kernel: each test loads and
    /// verifies all programs, and that takes an emulated processor seconds.
    static let leftOut = ["/(Shared|Rules|Capacity|Events|Guards)/"]

    @Test(arguments: try await VirtualMachine.kernels())
    func `eBPF programs and what they do to sockets`(_ kernel: String) async throws {
        let machine = try await VirtualMachine.runTests(
            ["^KernelTests\\."], except: Self.leftOut, kernel: kernel, seconds: 2400)
        // Tools/test shows these lines.
        for line in machine.output where line.hasPrefix("verifier: ") { print(line) }
        machine.expectTests(atLeast: 40)
    }

    @Test(arguments: try await VirtualMachine.kernels())
    func `a mesh of two nodes`(_ kernel: String) async throws {
        let machine = try await VirtualMachine.runTests(Self.lab, kernel: kernel, seconds: 2400)
        machine.expectTests(atLeast: 12)
    }
}
