// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshModel
import MeshProxy
import MeshTunnel

/// A client of node `b` that makes each record itself, so that it can cut, forge and leave out what it likes.
final class SessionPeer {
    let wire: Wire
    private let session: TunnelSession
    private var pool = AEADContextPool(provider: .openSSL, capacity: 2)
    private var received: [UInt8]
    /// Content that was opened and not asked for yet.
    private var content: [UInt8] = []
    private var isEnded = false

    /// - Parameter suite: the only one that it offers.
    init(_ mesh: Mesh, suite: CipherSuite = .aes128GCM) throws {
        guard let address = mesh.b.proxy.tunnelEndpoint else { throw Wrong("no tunnel listener") }
        let wire = try Wire(to: address)
        let identity = try mesh.credentials.identity(mesh.clientLeaf, [suite])
        guard let server = SPIFFEID("spiffe://mesh.test/ns/prod/sa/server") else { throw Wrong("no SPIFFE ID") }
        let handshake = try TunnelHandshake(
            connectingAs: identity, to: "server.prod.workload.mesh.internal", expecting: server)
        var session: TunnelSession?
        while session == nil {
            let progress = handshake.advance()
            var output = [UInt8](repeating: 0, count: handshake.outputCount)
            let count = output.withUnsafeMutableBytes { handshake.takeOutput($0) }
            try wire.write(output[..<count])
            switch progress {
            case .done(let done): session = done
            case .failed(let error): throw Wrong("handshake: \(error)")
            default:
                let bytes = try wire.read()
                if bytes.isEmpty { throw Wrong("the connection ended in the handshake") }
                bytes.withUnsafeBytes { handshake.receive($0) }
            }
        }
        guard let session else { throw Wrong("no session") }
        self.wire = wire
        self.session = session
        self.received = handshake.takeLeftover()
    }

    func records(_ content: [UInt8]) throws -> [UInt8] {
        var buffer = [UInt8](
            repeating: 0, count: (content.count / RecordLayout.content + 1) * RecordLayout.stride)
        for index in 0..<content.count {
            let place = index / RecordLayout.content * RecordLayout.stride + index % RecordLayout.content
            buffer[place + RecordLayout.header] = content[index]
        }
        let count = try buffer.withUnsafeMutableBytes {
            try self.session.seal($0.baseAddress.unsafelyUnwrapped, count: content.count, pool: &self.pool)
        }
        return Array(buffer.prefix(count))
    }

    func emptyRecord() throws -> [UInt8] {
        try self.control { base, pool throws(TunnelError) in try self.session.sealStreamEnd(base, pool: &pool) }
    }

    func closeNotify() throws -> [UInt8] {
        try self.control { base, pool throws(TunnelError) in try self.session.sealCloseNotify(base, pool: &pool) }
    }

    private func control(
        _ body: (UnsafeMutableRawPointer, inout AEADContextPool) throws(TunnelError) -> Int
    ) throws -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: TunnelSession.controlLength)
        let count = try buffer.withUnsafeMutableBytes { try body($0.baseAddress.unsafelyUnwrapped, &self.pool) }
        return Array(buffer.prefix(count))
    }

    func request(_ app: App) throws -> [UInt8] {
        try self.records(ConnectRequest(authority: app.address, capabilities: TunnelCapabilities()).encoded)
    }

    func connect(to app: App) throws {
        try self.wire.write(try self.request(app))
        try self.readAnswer()
    }

    func readAnswer() throws {
        var answer = ""
        while !answer.hasSuffix("\r\n\r\n") {
            if self.content.isEmpty { self.content = try self.read() }
            if self.content.isEmpty { throw Wrong("the tunnel ended in order instead of answering") }
            answer.unicodeScalars.append(Unicode.Scalar(self.content.removeFirst()))
        }
        try expect(answer.hasPrefix("HTTP/1.1 200"), "answer: \(answer)")
    }

    /// The content of some records; none at close_notify.
    func read() throws -> [UInt8] {
        if !self.content.isEmpty {
            defer { self.content = [] }
            return self.content
        }
        var vector = [iovec](repeating: iovec(), count: 64)
        while !self.isEnded {
            var content: [UInt8] = []
            let opened = try self.received.withUnsafeMutableBytes { bytes -> TunnelSession.Opened in
                guard let base = bytes.baseAddress else { return TunnelSession.Opened() }
                let opened = try self.session.open(
                    base, count: bytes.count, into: &vector, capacity: vector.count, pool: &self.pool)
                for range in vector.prefix(opened.ranges) {
                    content += Array(UnsafeRawBufferPointer(start: range.iov_base, count: range.iov_len))
                }
                return opened
            }
            self.received.removeFirst(opened.consumed)
            self.isEnded = opened.isEnd
            if opened.content > 0 { return content }
            if opened.consumed > 0 { continue }
            let more = try self.wire.read()
            if more.isEmpty { throw Wrong("the tunnel's connection ended without close_notify") }
            self.received += more
        }
        return []
    }

    func readToEnd() throws -> [UInt8] {
        var bytes: [UInt8] = []
        while true {
            let more = try self.read()
            if more.isEmpty { return bytes }
            bytes += more
        }
    }
}
