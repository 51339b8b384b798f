// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import Testing

@testable import MeshTunnel

/// What kernel TLS passes up beside data.
@Suite struct KernelRecordTests {
    private func outcome(_ reader: inout KernelRecordReader, _ type: UInt8, _ content: [UInt8]) throws
        -> KernelRecordReader.Outcome
    {
        try content.withUnsafeBytes { (bytes: UnsafeRawBufferPointer) in try reader.received(type: type, bytes) }
    }

    private func failure(_ type: UInt8, _ content: [UInt8]) -> TunnelError.Code? {
        var reader = KernelRecordReader()
        do {
            _ = try self.outcome(&reader, type, content)
            return nil
        } catch { return (error as? TunnelError)?.code }
    }

    @Test func `close_notify ends, user_canceled does not, any other alert fails`() throws {
        var reader = KernelRecordReader()
        #expect(try self.outcome(&reader, 21, [1, 90]) == .ignored)
        #expect(try self.outcome(&reader, 21, [1, 0]) == .ended)
        #expect(self.failure(21, [2, 20]) == .alert)
        #expect(self.failure(21, [1]) == .protocolViolation)
        #expect(self.failure(24, [1]) == .protocolViolation)
    }

    @Test func `tickets are skipped, however they are cut; a KeyUpdate ends the tunnel`() throws {
        var reader = KernelRecordReader()
        let ticket: [UInt8] = [4, 0, 0, 5, 1, 2, 3, 4, 5]
        #expect(try self.outcome(&reader, 22, ticket) == .ignored)
        #expect(try self.outcome(&reader, 22, Array(ticket[..<3])) == .ignored)
        #expect(try self.outcome(&reader, 22, Array(ticket[3...])) == .ignored)
        #expect(self.failure(22, [24, 0, 0, 1, 0]) == .keyExhausted)
        #expect(self.failure(22, [24, 0, 0, 1, 1]) == .keyExhausted)
        #expect(self.failure(22, [1, 0, 0, 0]) == .protocolViolation)
    }

    @Test func `records without data are counted until data comes`() throws {
        var reader = KernelRecordReader()
        for _ in 0..<64 { try reader.receivedNothing() }
        reader.receivedData()
        for _ in 0..<64 { try reader.receivedNothing() }
        #expect(throws: TunnelError.self) { try reader.receivedNothing() }
    }

    @Test func `the kernel's errors for bad records are told from TCP's`() {
        let code = { (code: CInt) in KernelRecordReader.failure(SystemError(call: "recvmsg", errno: code))?.code }
        #expect(code(EBADMSG) == .recordForged)
        #expect(code(EMSGSIZE) == .protocolViolation)
        #expect(code(ECONNRESET) == nil)
    }

    @Test func `a key is spent by blocks, not by records`() {
        var budget = KeyBudget()
        // A thousand million one-byte records are far from it.
        budget.charge(content: 1_000_000_000, records: 1_000_000_000)
        #expect(!budget.isSpent(for: .aes128GCM))
        budget.charge(content: 256 << 30, records: 1 << 24)
        #expect(budget.isSpent(for: .aes128GCM) && budget.isSpent(for: .aes256GCM))
        #expect(!budget.isSpent(for: .chaCha20Poly1305))
    }

    @Test func `capabilities survive the wire`() {
        for reuse in [false, true] {
            for fixedKeys in [false, true] {
                let capabilities = TunnelCapabilities(reuse: reuse, fixedKeys: fixedKeys)
                #expect(TunnelCapabilities(capabilities.encoded) == capabilities)
            }
        }
        #expect(TunnelCapabilities("v2, later") == TunnelCapabilities())
    }

    @Test func `the probe of this kernel comes to a verdict`() {
        let probe = KernelProbe.run(aead: .openSSL)
        // Whatever this machine has: a reason for each suite that fails, and times only when none does.
        #expect(probe.failures.isEmpty || probe.kernelTime == nil)
        #expect(probe.failures.values.allSatisfy { !$0.isEmpty })
    }
}
