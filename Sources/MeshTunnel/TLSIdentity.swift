// SPDX-License-Identifier: Apache-2.0
import COpenSSL
import MeshModel

/// A workload's certificate, key and trust bundle, ready for handshakes in both roles.
package final class TLSIdentity: Sendable {
    /// Whose certificate it is.
    package let id: SPIFFEID

    /// Parses and checks everything; milliseconds of work, so never on a loop.
    package init(certificateChainPEM: String, privateKeyPEM: String, trustBundlePEM: String) throws(TunnelError) {
        throw TunnelError(.invalidIdentity, "not yet built")
    }
}
