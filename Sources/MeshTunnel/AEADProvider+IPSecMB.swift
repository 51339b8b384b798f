// SPDX-License-Identifier: Apache-2.0
import CMeshAEAD

extension AEADProvider {
    /// Intel's multi-buffer library, for AES-GCM only.
    package static let ipsecMB = AEADProvider(
        name: "ipsecmb", create: createIPSecMB, seal: sealIPSecMB, open: openIPSecMB, destroy: destroyIPSecMB)

    /// Why ``ipsecMB`` cannot be used on this machine; nil when it can.
    package static func ipsecMBFailure() -> String? {
        if let failure = nm_ipsecmb_load() { return String(cString: failure) }
        for suite in [CipherSuite.aes128GCM, .aes256GCM] where !Self.ipsecMB.agrees(with: .openSSL, on: suite) {
            return "libIPSec_MB.so.1 does not compute the same \(suite) as OpenSSL"
        }
        return nil
    }
}

private func createIPSecMB(_ suite: UInt16, _ key: UnsafePointer<UInt8>) -> UnsafeMutableRawPointer? {
    nm_ipsecmb_create(suite, key)
}

private func sealIPSecMB(
    _ context: UnsafeMutableRawPointer, _ nonce: UnsafePointer<UInt8>, _ header: UnsafePointer<UInt8>,
    _ data: UnsafeMutablePointer<UInt8>, _ count: Int
) -> Bool { nm_ipsecmb_seal(context, nonce, header, data, count) }

private func openIPSecMB(
    _ context: UnsafeMutableRawPointer, _ nonce: UnsafePointer<UInt8>, _ header: UnsafePointer<UInt8>,
    _ data: UnsafeMutablePointer<UInt8>, _ count: Int
) -> Bool { nm_ipsecmb_open(context, nonce, header, data, count) }

private func destroyIPSecMB(_ context: UnsafeMutableRawPointer) { nm_ipsecmb_destroy(context) }
