// SPDX-License-Identifier: Apache-2.0

/// A step of making a connection, or a moment in its life. The raw value is the word in metrics, access log and traces.
package enum ConnectionPhase: String, Sendable, Hashable, CaseIterable {
    /// From accept until it was known whose connection it is and where it goes.
    case capture
    /// Choosing the endpoint and asking the policies, all attempts together.
    case policy
    /// Waiting for a certificate of this node's workload, or for the first view.
    case certificate
    /// connect(2), of the last attempt.
    case dial
    /// The TLS handshake of the tunnel that was made for this connection; on the accepting node from accept on.
    case tls
    /// From the CONNECT until the peer node's answer.
    case connect
    /// From accept until bytes are relayed: everything above, and what lies between.
    case setup
    /// From accept until the client's first byte went on.
    case firstByteSent = "first_byte_sent"
    /// From accept until the server's first byte went on.
    case firstByteReceived = "first_byte_received"
}

/// How long the phases of a connection took on this node, in microseconds; those that it did not go through are absent.
package struct ConnectionPhases: Hashable, Sendable {
    /// Stands for "not reached".
    private static let none = UInt32.max

    private var capture = Self.none
    private var policy = Self.none
    private var certificate = Self.none
    private var dial = Self.none
    private var tls = Self.none
    private var connect = Self.none
    private var setup = Self.none
    private var firstByteSent = Self.none
    private var firstByteReceived = Self.none

    package init() {}

    /// Microseconds; nil: the connection did not go through that phase.
    package subscript(_ phase: ConnectionPhase) -> UInt32? {
        get {
            let value =
                switch phase {
                case .capture: self.capture
                case .policy: self.policy
                case .certificate: self.certificate
                case .dial: self.dial
                case .tls: self.tls
                case .connect: self.connect
                case .setup: self.setup
                case .firstByteSent: self.firstByteSent
                case .firstByteReceived: self.firstByteReceived
                }
            return value == Self.none ? nil : value
        }
        set {
            let value = newValue.map { min($0, Self.longest) } ?? Self.none
            switch phase {
            case .capture: self.capture = value
            case .policy: self.policy = value
            case .certificate: self.certificate = value
            case .dial: self.dial = value
            case .tls: self.tls = value
            case .connect: self.connect = value
            case .setup: self.setup = value
            case .firstByteSent: self.firstByteSent = value
            case .firstByteReceived: self.firstByteReceived = value
            }
        }
    }

    /// Sets a phase from nanoseconds.
    package mutating func set(_ phase: ConnectionPhase, nanoseconds: UInt64) {
        self[phase] = UInt32(clamping: nanoseconds / 1000)
    }

    /// Adds nanoseconds to a phase that may happen several times.
    package mutating func add(_ phase: ConnectionPhase, nanoseconds: UInt64) {
        self[phase] = UInt32(clamping: UInt64(self[phase] ?? 0) + nanoseconds / 1000)
    }

    /// More than an hour; longer phases count as that.
    private static let longest = UInt32.max - 1

    /// The phases that happened, in order.
    package var reached: [(phase: ConnectionPhase, microseconds: UInt32)] {
        ConnectionPhase.allCases.compactMap { phase in self[phase].map { (phase, $0) } }
    }
}
