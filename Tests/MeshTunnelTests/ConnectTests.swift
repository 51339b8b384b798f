// SPDX-License-Identifier: Apache-2.0
import MeshModel
import Testing

@testable import MeshTunnel

@Suite struct ConnectTests {
    private let authority = "10.1.2.3:8080"
    private let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    /// Feeds `text` in pieces of `chunk`; the request, and the bytes behind it.
    private func parse(_ text: String, chunk: Int = .max) throws -> (ConnectRequest?, [UInt8]) {
        var parser = ConnectRequestParser()
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let piece = Array(rest.prefix(chunk))
            let (taken, request) = try piece.withUnsafeBytes { try parser.read($0) }
            rest = rest.dropFirst(taken)
            if let request { return (request, Array(rest)) }
        }
        return (nil, [])
    }

    private func head(_ lines: String..., start: String? = nil) -> String {
        ([start ?? "CONNECT \(self.authority) HTTP/1.1"] + lines).map { $0 + "\r\n" }.joined() + "\r\n"
    }

    @Test(arguments: [Int.max, 1, 3])
    func `a request survives the wire with the data behind it`(chunk: Int) throws {
        let request = ConnectRequest(
            authority: try #require(SocketAddress(self.authority)),
            client: SocketAddress("10.9.9.9:4242"),
            source: NamespacedName(namespace: "prod", name: "client-1"), sourceService: "client",
            trace: TraceContext(self.trace))
        let text = String(decoding: request.encoded, as: UTF8.self)
        #expect(text.hasPrefix("CONNECT 10.1.2.3:8080 HTTP/1.1\r\nHost: 10.1.2.3:8080\r\n"))
        #expect(text.contains("\r\nforwarded: for=\"10.9.9.9:4242\"\r\n"))
        #expect(
            text.contains(
                "\r\nbaggage: k8s.namespace.name=prod,service.name=client,nodemesh.workload=prod/client-1\r\n"))
        let (parsed, rest) = try self.parse(text + "GET /", chunk: chunk)
        #expect(parsed == request)
        #expect(rest == Array("GET /".utf8.prefix(rest.count)))
    }

    @Test func `a request needs every byte`() throws {
        let text = Array(self.head("Host: \(self.authority)", "forwarded: for=\"1.2.3.4:5\"").utf8)
        for count in text.indices {
            var parser = ConnectRequestParser()
            let (taken, request) = try text.prefix(count).withUnsafeBytes { try parser.read($0) }
            #expect(taken == count && request == nil)
        }
    }

    @Test func `what is optional may be missing, what is unknown is ignored`() throws {
        let bare = try self.parse(self.head("Host: \(self.authority)")).0
        #expect(bare == ConnectRequest(authority: try #require(SocketAddress(self.authority))))
        let odd = try self.parse(
            self.head(
                "HOST:\(self.authority)  ", "x-envoy: 1", "x-envoy: 2", "traceparent: nonsense",
                "baggage: a=b, nodemesh.workload = prod/x%2Dy ;p=1, broken, nodemesh.workload=second/one")
        ).0
        #expect(odd?.source == NamespacedName(namespace: "prod", name: "x-y"))
        #expect(odd?.trace == nil)
    }

    @Test(arguments: [
        "GET / HTTP/1.1|Host: 10.1.2.3:8080", "CONNECT 10.1.2.3:8080 HTTP/1.0|Host: 10.1.2.3:8080",
        "CONNECT  10.1.2.3:8080 HTTP/1.1|Host: 10.1.2.3:8080", "CONNECT 10.1.2.3:8080 HTTP/1.1 |Host: 10.1.2.3:8080",
        "connect 10.1.2.3:8080 HTTP/1.1|Host: 10.1.2.3:8080", "CONNECT 10.1.2.3 HTTP/1.1|Host: 10.1.2.3",
        "CONNECT 10.1.2.3:0 HTTP/1.1|Host: 10.1.2.3:0", "CONNECT 10.1.2.3:99999 HTTP/1.1|Host: 10.1.2.3:99999",
        "CONNECT 010.1.2.3:80 HTTP/1.1|Host: 010.1.2.3:80", "CONNECT 10.1.2.3:+80 HTTP/1.1|Host: 10.1.2.3:+80",
        "CONNECT 10.1.2.3:080 HTTP/1.1|Host: 10.1.2.3:080", "CONNECT evil.com:80 HTTP/1.1|Host: evil.com:80",
        "CONNECT 10.1.2.3:8080 HTTP/1.1", "CONNECT 10.1.2.3:8080 HTTP/1.1|Host: 10.1.2.4:8080",
        "CONNECT 10.1.2.3:8080 HTTP/1.1|Host: 10.1.2.3:8080|Host: 10.1.2.3:8080",
        "CONNECT 10.1.2.3:8080 HTTP/1.1|Host: 10.1.2.3:8080|content-length: 0",
        "CONNECT 10.1.2.3:8080 HTTP/1.1|Host: 10.1.2.3:8080|Transfer-Encoding: chunked",
        "CONNECT 10.1.2.3:8080 HTTP/1.1|Host: 10.1.2.3:8080|Transfer-Encoding : chunked",
        "CONNECT 10.1.2.3:8080 HTTP/1.1|Host: 10.1.2.3:8080| folded: line",
        "CONNECT 10.1.2.3:8080 HTTP/1.1|Host: 10.1.2.3:8080|\tfolded: line",
        "CONNECT 10.1.2.3:8080 HTTP/1.1|Host: 10.1.2.3:8080|no colon",
        "CONNECT 10.1.2.3:8080 HTTP/1.1|Host: 10.1.2.3:8080|: empty",
        "CONNECT 10.1.2.3:8080 HTTP/1.1|Host: 10.1.2.3:8080|na(me: x",
        "CONNECT 10.1.2.3:8080 HTTP/1.1|Host: 10.1.2.3:8080|x: a\u{0}b",
        "CONNECT 10.1.2.3:8080 HTTP/1.1|Host: 10.1.2.3:8080|x: a\rb",
        "CONNECT 10.1.2.3:8080 HTTP/1.1|Host: 10.1.2.3:8080|x: a\nb: c",
        "CONNECT 10.1.2.3:8080 HTTP/1.1|Host: 10.1.2.3:8080|x: a\u{7f}",
        "CONNECT 10.1.2.3:8080 HTTP/1.1|Host: 10.1.2.3:8080|forwarded: for=unknown",
        "CONNECT 10.1.2.3:8080 HTTP/1.1|Host: 10.1.2.3:8080|forwarded: for=\"1.2.3.4\"",
        "CONNECT 10.1.2.3:8080 HTTP/1.1|Host: 10.1.2.3:8080|forwarded: for=\"1.2.3.4:5\"|forwarded: for=\"1.2.3.4:5\"",
        "CONNECT 10.1.2.3:8080 HTTP/1.1|Host: 10.1.2.3:8080|baggage: a=b|baggage: c=d", "",
    ])
    func `hostile requests are refused`(lines: String) {
        let text = lines.split(separator: "|", omittingEmptySubsequences: false).map { $0 + "\r\n" }.joined() + "\r\n"
        let error = #expect(throws: TunnelError.self) { _ = try self.parse(text) }
        #expect(error?.code == .protocolViolation)
    }

    @Test func `a head has a bound, in bytes and in headers`() {
        let long = "CONNECT \(self.authority) HTTP/1.1\r\nHost: \(self.authority)\r\nx: "
        #expect(throws: TunnelError.self) { try self.parse(long + String(repeating: "a", count: 20000)) }
        #expect(throws: TunnelError.self) { try self.parse(String(repeating: "a", count: 20000), chunk: 7) }
        let many = String(repeating: "x: y\r\n", count: 65)
        #expect(throws: TunnelError.self) { try self.parse(long + "\r\n" + many + "\r\n") }
    }

    @Test(arguments: CloseReason.allCases)
    func `refusals survive the wire`(reason: CloseReason) throws {
        let refusal = ConnectResponse.refusal(reason, detail: "why\r\nnot: true é")
        var parser = ConnectResponseParser()
        let (taken, response) = try refusal.encoded.withUnsafeBytes { try parser.read($0) }
        #expect(taken == refusal.encoded.count)
        let parsed = try #require(response)
        #expect(!parsed.isAccepted && parsed.status == refusal.status && parsed.reason == reason)
        #expect(parsed.detail == "why??not: true ??")
    }

    @Test func `an acceptance is the 19 bytes of the protocol, with the server's data behind`() throws {
        #expect(ConnectResponse.accepted(nil).encoded == Array("HTTP/1.1 200 OK\r\n\r\n".utf8))
        var parser = ConnectResponseParser()
        let bytes = Array("HTTP/1.1 200 OK\r\n\r\nhello".utf8)
        let (taken, response) = try bytes.withUnsafeBytes { try parser.read($0) }
        #expect(taken == 19 && response?.isAccepted == true)
    }

    @Test(arguments: [
        "HTTP/1.1 200\r\n\r\n", "HTTP/1.1 200 OK\r\ndate: now\r\nserver: x\r\n\r\n", "HTTP/1.1 403 No\r\n\r\n",
    ])
    func `other speakers' answers are understood`(text: String) throws {
        var parser = ConnectResponseParser()
        #expect(try Array(text.utf8).withUnsafeBytes { try parser.read($0) }.response != nil)
    }

    @Test(arguments: [
        "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 +20 OK\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", "SSH-2.0-x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\n\n", "\r\n\r\n",
        "HTTP/1.1 403 No\r\nnodemesh-reason: a\r\nnodemesh-reason: b\r\n\r\n",
    ])
    func `hostile answers are refused`(text: String) {
        var parser = ConnectResponseParser()
        #expect(throws: TunnelError.self) { try Array(text.utf8).withUnsafeBytes { try parser.read($0) } }
    }
}
