// SPDX-License-Identifier: Apache-2.0

/// What the kernel's TCP says of a connection's way to the peer node, or to the server where there is no tunnel
/// (TCP_INFO of tcp(7)).
package struct TCPHealth: Hashable, Sendable {
    /// The smoothed round-trip time and the least of the last minutes, in microseconds; 0: not measured.
    package var smoothedRTT: UInt32
    package var leastRTT: UInt32
    /// Segments sent since the connection began, and those of them that were sent again.
    package var sentSegments: UInt32
    package var retransmittedSegments: UInt32

    package init(smoothedRTT: UInt32, leastRTT: UInt32, sentSegments: UInt32, retransmittedSegments: UInt32) {
        self.smoothedRTT = smoothedRTT
        self.leastRTT = leastRTT
        self.sentSegments = sentSegments
        self.retransmittedSegments = retransmittedSegments
    }
}
