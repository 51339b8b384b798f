// SPDX-License-Identifier: Apache-2.0
import MeshLinux

extension TunnelSession {
    /// The number of the next record to be sealed.
    package var sentSequence: UInt64 { self.sending.sequence }

    /// The number of the next record to be opened.
    package var receivedSequence: UInt64 { self.receiving.sequence }

    /// Hands one direction to the kernel, from its next record on. Afterwards nothing may be sealed, or opened, here.
    ///
    /// Only at the boundary of two records: all that was sealed is in the socket, nothing that was read is unopened.
    package func install(_ direction: Linux.TLSDirection, on socket: CInt) throws(SystemError) {
        // Copies of the key alone, wiped: the secret stays where it is.
        var key = direction == .sending ? self.sending.key : self.receiving.key
        var iv = direction == .sending ? self.sending.iv : self.receiving.iv
        let sequence = direction == .sending ? self.sending.sequence : self.receiving.sequence
        defer {
            wipe(&key)
            wipe(&iv)
        }
        let suite = self.suite.rawValue
        let failure = withUnsafeBytes(of: &key) { key in
            withUnsafeBytes(of: &iv) { iv -> SystemError? in
                guard let key = key.baseAddress, let iv = iv.baseAddress else { return nil }
                do throws(SystemError) {
                    try Linux.installTLS(
                        socket, direction, suite: suite, key: key.assumingMemoryBound(to: UInt8.self),
                        iv: iv.assumingMemoryBound(to: UInt8.self), sequence: sequence)
                    return nil
                } catch { return error }
            }
        }
        if let failure { throw failure }
    }
}
