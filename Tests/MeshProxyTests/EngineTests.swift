// SPDX-License-Identifier: Apache-2.0
import MeshModel
import MeshTunnel
import Testing

@testable import MeshProxy

/// The choice between the engines, and the accounts that the kernel engine keeps.
@Suite struct EngineTests {
    private func probe(kernel: UInt64?, user: UInt64?, failing: [CipherSuite] = []) -> KernelProbe {
        var probe = KernelProbe()
        for suite in failing { probe.failures[suite] = "not in this kernel" }
        probe.kernelTime = kernel
        probe.userTime = user
        return probe
    }

    @Test(arguments: [
        (100, 200, TunnelEngine.kernel), (200, 100, .user), (100, 100, .user), (67, 100, .user), (66, 100, .kernel),
    ])
    func `the kernel has to need a third less`(kernel: UInt64, user: UInt64, expected: TunnelEngine) throws {
        #expect(try EngineChoice.choose(.automatic, self.probe(kernel: kernel, user: user)).engine == expected)
    }

    @Test(arguments: CipherSuite.allCases)
    func `one suite that fails is enough against the kernel`(suite: CipherSuite) throws {
        let probe = self.probe(kernel: 1, user: 1000, failing: [suite])
        let choice = try EngineChoice.choose(.automatic, probe)
        #expect(choice.engine == .user && choice.why.contains("\(suite)"))
        let error = #expect(throws: ProxyError.self) { try EngineChoice.choose(.kernel, probe) }
        #expect(error?.description.contains("set engine: user") == true)
    }

    @Test func `what is configured is not timed`() throws {
        #expect(try EngineChoice.choose(.kernel, self.probe(kernel: 1000, user: 1)).engine == .kernel)
        #expect(try EngineChoice.choose(.automatic, self.probe(kernel: nil, user: nil)).engine == .user)
        #expect(try EngineChoice.make(.user, aead: .openSSL) == EngineChoice(engine: .user, why: "configured"))
    }

    @Test func `a node with the kernel engine announces fixed keys and no reuse`() throws {
        let kernel = try EngineChoice.choose(.kernel, self.probe(kernel: 1, user: 1))
        #expect(kernel.hasFixedKeys && !kernel.allowsReuse)
        let user = try EngineChoice.make(.user, aead: .openSSL)
        #expect(!user.hasFixedKeys && user.allowsReuse)
    }

    @Test func `a stream is complete when every record is in TCP, and not a byte before`() {
        var account = WireAccount(firstSequence: 3, firstBytes: 500)
        account.took(20_000)
        // Two records and an alert.
        account.took(2)
        let due = 500 + 20_002 + 3 * 22
        #expect(!account.isComplete(sequence: 6, bytes: UInt64(due - 1)))
        #expect(account.isComplete(sequence: 6, bytes: UInt64(due)))
        // The same content in more records takes more.
        #expect(!account.isComplete(sequence: 7, bytes: UInt64(due)))
    }

    @Test func `a record goes into a pipe only if a whole one fits`() {
        #expect(!PipeRoom(slots: 2).isEnough)
        var room = PipeRoom(slots: 16)
        var records = 0
        while room.isEnough {
            room.took(16384)
            records += 1
        }
        // Five pages each; six were free before the last.
        #expect(records == 2)
        room.drained()
        #expect(room.isEnough)
        for _ in 0..<5 {
            #expect(room.isEnough)
            room.took(1)
        }
    }

    @Test func `the wait for TCP grows and stays bounded`() {
        let tunnel = KernelTunnel(suite: .aes128GCM, account: WireAccount(firstSequence: 0, firstBytes: 0))
        #expect(tunnel.nextPoll() == 5_000_000)
        var last: UInt64 = 0
        for _ in 0..<20 { last = tunnel.nextPoll() }
        #expect(last == 320_000_000)
    }
}
