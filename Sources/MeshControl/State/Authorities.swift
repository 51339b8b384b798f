// SPDX-License-Identifier: Apache-2.0

import MeshIdentity

/// The roots of the mesh at one moment: what signs, and what is trusted.
package struct Authorities: Sendable {
    /// It signs.
    package var active: CertificateAuthority
    /// Trusted already, signs later.
    package var next: CertificateAuthority?
    /// Trusted still, signs no more.
    package var old: CertificateAuthority?

    /// The one that signs first.
    package var all: [CertificateAuthority] { [self.active] + [self.next, self.old].compactMap { $0 } }

    package func bundle() throws(IdentityError) -> TrustBundle { try TrustBundle(self.all.map(\.root)) }
}
