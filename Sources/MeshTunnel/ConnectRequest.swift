// SPDX-License-Identifier: Apache-2.0
import MeshModel

/// The preface by which a source node says what a tunnel is for.
package struct ConnectRequest: Hashable, Sendable {
    /// The workload's address and the port its application listens on.
    package var authority: SocketAddress
    /// The client as the server's application is to see it.
    package var client: SocketAddress?
    /// What the source node says about the client's workload: for telemetry only, unless the certificate agrees.
    package var source: WorkloadID?
    /// The client's canonical service name.
    package var sourceService: String?
    /// W3C trace context.
    package var trace: TraceContext?
    /// nil: the peer is not a node of our own making.
    package var capabilities: TunnelCapabilities?

    package init(
        authority: SocketAddress, client: SocketAddress? = nil, source: WorkloadID? = nil,
        sourceService: String? = nil, trace: TraceContext? = nil, capabilities: TunnelCapabilities? = nil
    ) {
        self.authority = authority
        self.client = client
        self.source = source
        self.sourceService = sourceService
        self.trace = trace
        self.capabilities = capabilities
    }

    /// The bytes on the wire.
    package var encoded: [UInt8] {
        var text = "CONNECT \(self.authority) HTTP/1.1\r\nHost: \(self.authority)\r\n"
        if let client = self.client { text += "forwarded: for=\"\(client)\"\r\n" }
        var baggage: [String] = []
        if let source = self.source { baggage.append("k8s.namespace.name=\(Baggage.encode(source.namespace))") }
        if let service = self.sourceService { baggage.append("service.name=\(Baggage.encode(service))") }
        if let source = self.source {
            baggage.append("nodemesh.workload=\(Baggage.encode(source.namespace))/\(Baggage.encode(source.name))")
        }
        if !baggage.isEmpty { text += "baggage: \(baggage.joined(separator: ","))\r\n" }
        if let trace = self.trace { text += "traceparent: \(trace)\r\n" }
        if let capabilities = self.capabilities {
            text += "\(TunnelCapabilities.header): \(capabilities.encoded)\r\n"
        }
        return Array((text + "\r\n").utf8)
    }

    init(_ head: HeadReader.Head) throws(TunnelError) {
        let parts = head.startLine.split(separator: " ", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0] == "CONNECT", parts[2] == "HTTP/1.1" else {
            throw HeadReader.broken("no CONNECT request of HTTP/1.1")
        }
        guard let authority = SocketAddress(String(parts[1])), authority.description == parts[1] else {
            throw HeadReader.broken("the authority is no IP address and port")
        }
        guard try head.single("host") == authority.description else {
            throw HeadReader.broken("Host differs from the authority")
        }
        // A CONNECT has no body; a length would let two parsers disagree about where the tunnel begins.
        for name in ["content-length", "transfer-encoding", "upgrade", "te", "trailer"] {
            if try head.single(name) != nil { throw HeadReader.broken("header \(name) in a CONNECT") }
        }
        self.init(authority: authority)
        if let forwarded = try head.single("forwarded") { self.client = try Self.client(forwarded) }
        if let baggage = try head.single("baggage") {
            let values = Baggage.decode(baggage)
            self.source = values["nodemesh.workload"].flatMap { NamespacedName($0) }
            self.sourceService = values["service.name"]
        }
        self.capabilities = try head.single(TunnelCapabilities.header).map { TunnelCapabilities($0) }
        // One that is malformed is as good as none (W3C trace context §3.2.2.3).
        self.trace = try head.single("traceparent").flatMap { TraceContext($0) }
    }

    /// RFC 7239: one element, whose `for` is an address with a port.
    private static func client(_ text: String) throws(TunnelError) -> SocketAddress {
        for pair in text.split(separator: ";", omittingEmptySubsequences: false) {
            guard pair.lowercased().hasPrefix("for=") else { continue }
            var value = pair.dropFirst(4)
            if value.count >= 2, value.first == "\"", value.last == "\"" { value = value.dropFirst().dropLast() }
            if let address = SocketAddress(String(value)) { return address }
        }
        throw HeadReader.broken("forwarded names no client address and port")
    }
}

/// Reads a ``ConnectRequest`` as its bytes come.
package struct ConnectRequestParser {
    private var reader = HeadReader()

    package init() {}

    /// What is here of the preface; to be read again by whoever goes on with it.
    package var bytes: [UInt8] { self.reader.bytes }

    /// - Returns: how many bytes belong to the preface, and the request once it is complete. Bytes behind it are the
    ///   client's data.
    package mutating func read(
        _ input: UnsafeRawBufferPointer
    ) throws(TunnelError) -> (taken: Int, request: ConnectRequest?) {
        let (taken, head) = try self.reader.read(input)
        guard let head else { return (taken, nil) }
        return (taken, try ConnectRequest(head))
    }
}
