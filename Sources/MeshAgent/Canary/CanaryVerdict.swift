// SPDX-License-Identifier: Apache-2.0

import Glibc
import MeshLinux

/// What a try of the canary means.
package enum CanaryVerdict: Sendable, Equatable {
    /// What the helper process saw.
    package enum Observation: Sendable, Equatable {
        case connected
        case failed(errno: CInt)
        /// It could not try.
        case broken(String)
    }

    /// The proxy has accepted the connection, and knew where it wanted to go.
    case captured
    /// Refused on the spot, so that nothing left.
    case refused(String)
    /// Nobody can tell: the try itself did not work.
    case unknown(String)
    /// It went, or would have gone, past the proxy.
    case alarm(String)

    /// - Parameter isSeen: whether the proxy has seen a connection of the canary to this very address and port.
    package init(_ observation: Observation, isSeen: Bool) {
        switch (observation, isSeen) {
        case (.connected, true): self = .captured
        case (.connected, false):
            self = .alarm("somebody else than the proxy accepted the connection")
        // The proxy answers what it cannot resolve with a reset, which may be quicker than the look.
        case (.failed(ECONNRESET), true), (.failed(EPIPE), true): self = .captured
        case (.failed(ECONNREFUSED), _), (.failed(EPERM), _), (.failed(EACCES), _), (.failed(ECONNRESET), _):
            self = .refused(Self.text(observation))
        case (.failed(let code), _):
            self = .alarm(
                "the connection was let go: \(SystemError.text(of: code)); an enrolled one is captured or refused")
        case (.broken(let reason), _): self = .unknown(reason)
        }
    }

    private static func text(_ observation: Observation) -> String {
        if case .failed(let code) = observation { return SystemError.text(of: code) }
        return ""
    }

    /// The word for it in ``CanaryStatus/outcome``.
    package var outcome: String {
        switch self {
        case .captured: "captured"
        case .refused: "refused"
        case .unknown: "unknown"
        case .alarm: "alarm"
        }
    }

    package var detail: String {
        switch self {
        case .captured: "the proxy took the connection"
        case .refused(let text), .unknown(let text), .alarm(let text): text
        }
    }
}
