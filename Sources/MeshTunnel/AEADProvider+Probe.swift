// SPDX-License-Identifier: Apache-2.0
import MeshLinux

extension AEADProvider {
    /// Do both seal to the same bytes, open what the other sealed, and refuse what was changed?
    func agrees(with other: AEADProvider, on suite: CipherSuite) -> Bool {
        let key = (0..<32).map { UInt8($0 * 7 + 1) }
        guard let mine = self.create(suite.rawValue, key), let theirs = other.create(suite.rawValue, key) else {
            return false
        }
        defer {
            self.destroy(mine)
            other.destroy(theirs)
        }
        let nonce = (0..<12).map { UInt8($0 * 3) }
        // Around the block sizes of vector implementations, and the length of a full record.
        for count in [1, 15, 16, 17, 63, 64, 65, 127, 255, 256, 257, 1023, 4096, 8191, RecordLayout.content + 1] {
            let header: [UInt8] = [23, 3, 3, UInt8((count + 16) >> 8), UInt8((count + 16) & 255)]
            let plain = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 13 ^ count) }
            var first = plain + [UInt8](repeating: 0, count: 16)
            var second = first
            guard self.seal(mine, nonce, header, &first, count), other.seal(theirs, nonce, header, &second, count),
                first == second, self.open(mine, nonce, header, &first, count), first.prefix(count) == plain[...]
            else { return false }
            second[count / 2] ^= 0x10
            if self.open(mine, nonce, header, &second, count) { return false }
        }
        return true
    }

    /// Nanoseconds that one full record of AES-128-GCM takes, at best; nil when it cannot be sealed.
    package func recordTime() -> UInt64? {
        guard let context = self.create(CipherSuite.aes128GCM.rawValue, [UInt8](repeating: 1, count: 16)) else {
            return nil
        }
        defer { self.destroy(context) }
        var record = [UInt8](repeating: 0, count: RecordLayout.stride)
        let (nonce, header) = ([UInt8](repeating: 2, count: 12), [UInt8](repeating: 3, count: 5))
        var best = UInt64.max
        for _ in 0..<200 {
            let start = Clock.threadCPU
            guard self.seal(context, nonce, header, &record, RecordLayout.content + 1) else { return nil }
            best = min(best, Clock.threadCPU - start)
        }
        return best
    }

    /// The fastest provider of this machine, and why it was chosen. Milliseconds of work for the first who asks.
    package static func fastest() -> (provider: AEADProvider, why: String) { Self.found }

    private static let found = Self.findFastest()

    private static func findFastest() -> (provider: AEADProvider, why: String) {
        if let failure = Self.ipsecMBFailure() { return (.openSSL, failure) }
        let (reference, other) = (AEADProvider.openSSL.recordTime(), AEADProvider.ipsecMB.recordTime())
        guard let reference, let other else { return (.openSSL, "a provider could not be timed") }
        let times = "16 KiB record: openssl \(reference) ns, ipsecmb \(other) ns"
        return (other < reference ? .ipsecMB : .openSSL, times)
    }
}
