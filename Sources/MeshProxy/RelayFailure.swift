// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshTunnel

/// Why bytes stopped moving.
enum RelayFailure: Error {
    /// The socket of that side broke while bytes were read from it.
    case read(UInt32, SystemError)
    /// The socket of that side broke while bytes were written to it.
    case write(UInt32, SystemError)
    /// What arrived through the tunnel cannot be trusted or understood.
    case tunnel(TunnelError)
}

extension SystemError {
    /// The other side has gone without a word.
    var isCut: Bool { self.errno == ECONNRESET || self.errno == EPIPE }
}
