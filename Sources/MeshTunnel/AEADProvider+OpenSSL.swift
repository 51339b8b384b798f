// SPDX-License-Identifier: Apache-2.0
import COpenSSL

extension AEADProvider {
    /// OpenSSL's EVP: the reference, always there.
    package static let openSSL = AEADProvider(
        name: "openssl", create: createEVP, seal: sealEVP, open: openEVP, destroy: destroyEVP)
}

private func createEVP(_ suite: UInt16, _ key: UnsafePointer<UInt8>) -> UnsafeMutableRawPointer? {
    guard let suite = CipherSuite(rawValue: suite), let context = EVP_CIPHER_CTX_new() else { return nil }
    let cipher =
        switch suite {
        case .aes128GCM: EVP_aes_128_gcm()
        case .aes256GCM: EVP_aes_256_gcm()
        case .chaCha20Poly1305: EVP_chacha20_poly1305()
        }
    guard EVP_CipherInit_ex(context, cipher, nil, key, nil, 1) == 1 else {
        EVP_CIPHER_CTX_free(context)
        return nil
    }
    return UnsafeMutableRawPointer(context)
}

private func sealEVP(
    _ context: UnsafeMutableRawPointer, _ nonce: UnsafePointer<UInt8>, _ header: UnsafePointer<UInt8>,
    _ data: UnsafeMutablePointer<UInt8>, _ count: Int
) -> Bool {
    let context = OpaquePointer(context)
    var length: CInt = 0
    return EVP_CipherInit_ex(context, nil, nil, nil, nonce, 1) == 1
        && EVP_EncryptUpdate(context, nil, &length, header, 5) == 1
        && EVP_EncryptUpdate(context, data, &length, data, CInt(truncatingIfNeeded: count)) == 1
        && EVP_EncryptFinal_ex(context, data + count, &length) == 1
        && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, data + count) == 1
}

private func openEVP(
    _ context: UnsafeMutableRawPointer, _ nonce: UnsafePointer<UInt8>, _ header: UnsafePointer<UInt8>,
    _ data: UnsafeMutablePointer<UInt8>, _ count: Int
) -> Bool {
    let context = OpaquePointer(context)
    var length: CInt = 0
    return EVP_CipherInit_ex(context, nil, nil, nil, nonce, 0) == 1
        && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, 16, data + count) == 1
        && EVP_DecryptUpdate(context, nil, &length, header, 5) == 1
        && EVP_DecryptUpdate(context, data, &length, data, CInt(truncatingIfNeeded: count)) == 1
        && EVP_DecryptFinal_ex(context, data + count, &length) == 1
}

private func destroyEVP(_ context: UnsafeMutableRawPointer) { EVP_CIPHER_CTX_free(OpaquePointer(context)) }
