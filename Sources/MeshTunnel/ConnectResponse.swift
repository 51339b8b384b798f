// SPDX-License-Identifier: Apache-2.0
import MeshModel

/// The answer to a ``ConnectRequest``.
package struct ConnectResponse: Hashable, Sendable {
    /// 200: the rest of the tunnel is the server's data. Anything else is a refusal.
    package var status: Int
    /// Why it was refused, when the peer says so.
    package var reason: CloseReason?
    /// For the operator.
    package var detail: String?
    /// nil: the peer is not a node of our own making.
    package var capabilities: TunnelCapabilities?

    /// 200, with what this side and the request have in common.
    package static func accepted(_ capabilities: TunnelCapabilities?) -> ConnectResponse {
        ConnectResponse(status: 200, reason: nil, detail: nil, capabilities: capabilities)
    }

    package init(status: Int, reason: CloseReason?, detail: String?, capabilities: TunnelCapabilities? = nil) {
        self.status = status
        self.reason = reason
        self.detail = detail
        self.capabilities = capabilities
    }

    /// The refusal for a reason, with its HTTP status.
    package static func refusal(_ reason: CloseReason, detail: String?) -> ConnectResponse {
        let status =
            switch reason {
            case .policyDenied, .identityMismatch: 403
            case .unknownDestination, .workloadGone, .selfCall: 404
            case .protocolError: 400
            case .completed, .clientReset, .serverReset, .tunnelReset, .noHealthyEndpoint, .connectRefused,
                .connectTimeout, .connectFailed, .tlsFailed, .identityUnavailable, .originalDestinationMissing,
                .resourceExhausted, .limitExceeded, .sockmapStalled, .idleTimeout, .shutdown,
                .staleView, .endUnseen:
                503
            }
        return ConnectResponse(status: status, reason: reason, detail: detail)
    }

    package var isAccepted: Bool { self.status == 200 }

    /// The bytes on the wire.
    package var encoded: [UInt8] {
        if self.isAccepted {
            let header = self.capabilities.map { "\(TunnelCapabilities.header): \($0.encoded)\r\n" } ?? ""
            return Array("HTTP/1.1 200 OK\r\n\(header)\r\n".utf8)
        }
        let words = [400: "Bad Request", 403: "Forbidden", 404: "Not Found"]
        var text = "HTTP/1.1 \(self.status) \(words[self.status] ?? "Service Unavailable")\r\n"
        if let reason = self.reason { text += "nodemesh-reason: \(reason.rawValue)\r\n" }
        if let detail = self.detail { text += "nodemesh-detail: \(PeerVerification.printable(detail))\r\n" }
        return Array((text + "content-length: 0\r\n\r\n").utf8)
    }

    init(_ head: HeadReader.Head) throws(TunnelError) {
        let parts = head.startLine.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count >= 2, parts[0] == "HTTP/1.1", parts[1].utf8.count == 3,
            parts[1].utf8.allSatisfy({ (48...57).contains($0) }), let status = Int(parts[1]),
            (200...599).contains(status)
        else { throw HeadReader.broken("no HTTP/1.1 response") }
        let length = try head.single("content-length")
        guard length == nil || length == "0", try head.single("transfer-encoding") == nil else {
            throw HeadReader.broken("a CONNECT response with a body")
        }
        self.init(
            status: status, reason: try head.single("nodemesh-reason").flatMap { CloseReason(rawValue: $0) },
            detail: try head.single("nodemesh-detail").map { PeerVerification.printable($0) },
            capabilities: try head.single(TunnelCapabilities.header).map { TunnelCapabilities($0) })
    }
}

/// Reads a ``ConnectResponse`` as its bytes come.
package struct ConnectResponseParser {
    private var reader = HeadReader()

    package init() {}

    /// What is here of the answer; to be read again by whoever goes on with it.
    package var bytes: [UInt8] { self.reader.bytes }

    /// - Returns: how many bytes belong to the answer, and the answer once it is complete. Bytes behind it are the
    ///   server's data.
    package mutating func read(
        _ input: UnsafeRawBufferPointer
    ) throws(TunnelError) -> (taken: Int, response: ConnectResponse?) {
        let (taken, head) = try self.reader.read(input)
        guard let head else { return (taken, nil) }
        return (taken, try ConnectResponse(head))
    }
}
