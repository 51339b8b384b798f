// SPDX-License-Identifier: Apache-2.0
import MeshLinux

/// Whom an answer is for, in the words of whoever has the sockets.
package enum DNSClient: Hashable, Sendable {
    /// A datagram's sender, and the socket it came by.
    case datagram(socket: UInt64, peer: Endpoint)
    case stream(UInt64)
    /// nodemeshd itself, for an operator.
    case local(UInt64)

    /// Answers may have to be cut.
    var isDatagram: Bool {
        switch self {
        case .datagram: true
        case .stream, .local: false
        }
    }
}

/// Who asks, and whom it meant to ask.
package struct Asker: Hashable, Sendable {
    /// The number under which eBPF knows the workload; 0: nobody known.
    package var workload: UInt32
    /// Nil: not known, or it cannot be asked.
    package var resolver: Upstream?

    package init(workload: UInt32, resolver: Upstream?) {
        self.workload = workload
        self.resolver = resolver
    }
}

/// How a query went, for metrics.
package struct QueryReport: Sendable, Equatable {
    package enum Source: String, Sendable, CaseIterable {
        /// The mesh's own names.
        case local
        case cache
        case upstream
        /// Kept beyond its time, since no resolver answered.
        case stale
        /// nodemeshd refused, or nobody answered.
        case none
    }

    package var workload: UInt32
    /// Nil: the message was no query.
    package var type: RecordType?
    package var code: ResponseCode
    /// No such record, though there is the name.
    package var isEmpty: Bool
    package var source: Source
    /// Too many queries of the workload, or of all, wait already.
    package var isLimited = false
    /// Nanoseconds of the monotonic clock.
    package var began: UInt64
}

/// Why a resolver was of no use.
package enum UpstreamFailure: String, Sendable, CaseIterable {
    case timeout
    /// It cannot be reached, or nobody listens there.
    case network
    /// Something came that answers another question, or is no answer.
    case mismatch
    case serverFailure = "servfail"
    case refused
    /// It does not understand the query.
    case unsupported
}

/// What the resolver's caller has to do.
package enum DNSAction: Sendable {
    case answer(DNSClient, [UInt8], QueryReport)
    /// Send these bytes to the upstream from a socket of their own (over TCP: behind their length), and hand in what comes
    /// back under the attempt's number.
    case open(attempt: UInt64, Upstream, isStream: Bool, [UInt8])
    /// Close the attempt's socket.
    case close(attempt: UInt64)
    case failure(Upstream, UpstreamFailure)
}
