// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshModel

@testable import MeshTunnel

/// What reads bytes of a peer, each as a function of arbitrary bytes. `Tools/fuzz` runs them under libFuzzer; the unit
/// tests run them on the corpus. A broken promise ends the process.
enum FuzzTarget: String, CaseIterable {
    case connectRequest = "connect-request"
    case connectResponse = "connect-response"
    case baggage
    case serverName = "server-name"
    case postHandshake = "post-handshake"
    case records
    case rawRecords = "raw-records"

    func run(_ bytes: UnsafeRawBufferPointer) {
        switch self {
        case .connectRequest: Self.connectRequest(Array(bytes))
        case .connectResponse: Self.connectResponse(Array(bytes))
        case .baggage: Self.baggage(Array(bytes))
        case .serverName: Self.serverName(bytes)
        case .postHandshake: Self.postHandshake(bytes)
        case .records: RecordFuzzer.run(Array(bytes))
        case .rawRecords: RecordFuzzer.runRaw(Array(bytes))
        }
    }

    // MARK: - The preface

    /// Bytes taken and what was read, however the bytes are cut; nil: refused.
    private static func read<T>(
        _ bytes: [UInt8], step: Int, _ read: (UnsafeRawBufferPointer) throws(TunnelError) -> (taken: Int, value: T?)
    ) -> (taken: Int, value: T?)? {
        var taken = 0
        while taken < bytes.count {
            let piece = Array(bytes[taken..<min(bytes.count, taken + step)])
            let result = try? piece.withUnsafeBytes { try read($0) }
            guard let result else { return nil }
            precondition(result.taken <= piece.count, "more taken than there is")
            taken += result.taken
            if result.value != nil { return (taken, result.value) }
            precondition(result.taken == piece.count, "bytes were left though the head is not complete")
        }
        precondition(taken <= HeadReader.limit, "an unfinished head without a limit")
        return (taken, nil)
    }

    private static func connectRequest(_ bytes: [UInt8]) {
        func parse(_ bytes: [UInt8], _ step: Int) -> (taken: Int, value: ConnectRequest?)? {
            var parser = ConnectRequestParser()
            return Self.read(bytes, step: step) { piece throws(TunnelError) in
                let result = try parser.read(piece)
                return (result.taken, result.request)
            }
        }
        let whole = parse(bytes, .max >> 1)
        let cut = parse(bytes, 1 + bytes.count % 7)
        precondition(whole?.taken == cut?.taken && whole?.value == cut?.value, "it depends on how the bytes are cut")
        guard let request = whole?.value else { return }
        // What we understood is what we would have said.
        let again = parse(request.encoded, 100)
        precondition(again?.value == request, "a request is not what it encodes to: \(request)")
    }

    private static func connectResponse(_ bytes: [UInt8]) {
        func parse(_ bytes: [UInt8], _ step: Int) -> (taken: Int, value: ConnectResponse?)? {
            var parser = ConnectResponseParser()
            return Self.read(bytes, step: step) { piece throws(TunnelError) in
                let result = try parser.read(piece)
                return (result.taken, result.response)
            }
        }
        let whole = parse(bytes, .max >> 1)
        let cut = parse(bytes, 1 + bytes.count % 7)
        precondition(whole?.taken == cut?.taken && whole?.value == cut?.value, "it depends on how the bytes are cut")
        guard let response = whole?.value else { return }
        precondition((200...599).contains(response.status), "an impossible status")
        if let detail = response.detail {
            precondition(detail.utf8.count <= 256 && detail.utf8.allSatisfy { (32...126).contains($0) }, "a raw detail")
        }
    }

    private static func baggage(_ bytes: [UInt8]) {
        let values = Baggage.decode(String(decoding: bytes, as: UTF8.self))
        precondition(values.count <= 32, "too many members")
        for (name, value) in values where !name.isEmpty && name.utf8.allSatisfy({ (97...122).contains($0) }) {
            let again = Baggage.decode("\(name)=\(Baggage.encode(value))")
            // Percent-encoding is for printable characters; a raw one outside them is not sent by us.
            let isPrintable = value.utf8.allSatisfy { (32...126).contains($0) }
            precondition(!isPrintable || again[name] == value, "a value is not what it encodes to")
        }
    }

    // MARK: - TLS

    private static func serverName(_ bytes: UnsafeRawBufferPointer) {
        guard let name = MeshTunnel.serverName(bytes) else { return }
        precondition(
            (1...255).contains(name.utf8.count) && name.utf8.allSatisfy { (33...126).contains($0) }, "a raw name")
    }

    private static func postHandshake(_ bytes: UnsafeRawBufferPointer) {
        var reader = PostHandshakeReader()
        var updates = 0
        for byte in bytes {
            guard let event = try? reader.next(byte) else { return }
            if event != .nothing {
                updates += 1
                precondition(reader.isBetweenMessages, "an event inside a message")
            }
        }
        precondition(updates * 5 <= bytes.count, "more updates than bytes for them")
    }
}

/// Records as a peer with the right key can make them.
private enum RecordFuzzer {
    private static func keys(_ suite: CipherSuite, _ seed: UInt8) -> TrafficKeys {
        let secret = [UInt8](repeating: seed, count: suite.secretLength)
        guard let keys = secret.withUnsafeBytes({ TrafficKeys(suite: suite, secret: $0) }) else {
            preconditionFailure("the secret has the suite's length")
        }
        return keys
    }

    private static func session(_ suite: CipherSuite, _ sending: UInt8, _ receiving: UInt8) -> TunnelSession {
        guard let id = SPIFFEID("spiffe://mesh.test/ns/a/sa/b") else { preconditionFailure("a good SPIFFE ID") }
        return TunnelSession(
            suite: suite, sending: Self.keys(suite, sending), receiving: Self.keys(suite, receiving), peer: id,
            local: id)
    }

    /// The first byte chooses suite, vector and pieces; then each operation is a byte and what it takes.
    static func run(_ input: [UInt8]) {
        var rest = input[...]
        let options = Int(rest.popFirst() ?? 0)
        let suite = CipherSuite.allCases[options % 3]
        let (left, right) = (Self.session(suite, 1, 2), Self.session(suite, 2, 1))
        right.isReusable = options & 64 != 0
        var pool = AEADContextPool(provider: .openSSL, capacity: 2 + options % 3)
        var stream: [UInt8] = []
        var expected: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: RecordLayout.longest + 1024)
        while let operation = rest.popFirst(), stream.count < 200_000 {
            let size = Int(rest.popFirst() ?? 0)
            switch operation % 8 {
            case 0, 1:
                // Data, short or long.
                var content = Array(rest.prefix(size))
                if operation % 8 == 1 { content += [UInt8](repeating: 7, count: size * 64) }
                rest = rest.dropFirst(size)
                if content.isEmpty || content.count > RecordLayout.content { continue }
                stream += Self.seal(left, 23, content, &buffer, &pool)
                expected += content
            case 2:
                // Any type, with padding behind it.
                let type = rest.popFirst() ?? 0
                let content = Array(rest.prefix(size))
                rest = rest.dropFirst(size)
                var inner = content
                inner.append(type)
                inner += [UInt8](repeating: 0, count: size)
                stream += Self.seal(left, 0, inner, &buffer, &pool)
                if type == 23 { expected += content }
                // Its last byte that is not zero is the type.
                if type == 0, let last = content.lastIndex(where: { $0 != 0 }), content[last] == 23 {
                    expected += content[..<last]
                }
            case 3:
                stream += Self.seal(left, 22, Array(rest.prefix(size % 16)), &buffer, &pool)
                rest = rest.dropFirst(size % 16)
            case 4:
                stream += buffer.withUnsafeMutableBytes { bytes in
                    guard let base = bytes.baseAddress else { return [] }
                    let count = (try? left.sealKeyUpdate(base, pool: &pool)) ?? 0
                    return Array(bytes.prefix(count))
                }
            case 5:
                stream += Self.seal(left, 21, Array(rest.prefix(2)), &buffer, &pool)
                rest = rest.dropFirst(2)
            case 6:
                // As much as possible, and a byte more.
                let count = RecordLayout.content + size % 2
                let content = [UInt8](repeating: 9, count: count)
                stream += Self.seal(left, 0, content + [23], &buffer, &pool)
                expected += content
            default:
                stream += Array(rest.prefix(size))
                rest = rest.dropFirst(size)
            }
        }
        let opened = Self.open(
            right, stream, step: options & 128 == 0 ? .max >> 1 : 1 + options % 61, capacity: 1 + options % 5, &pool)
        precondition(expected.starts(with: opened), "what was opened is not what was sealed")
    }

    /// Bytes from anybody.
    static func runRaw(_ input: [UInt8]) {
        let suite = CipherSuite.allCases[Int(input.first ?? 0) % 3]
        var pool = AEADContextPool(provider: .openSSL, capacity: 2)
        let opened = Self.open(Self.session(suite, 2, 1), Array(input.dropFirst()), step: 1000, capacity: 4, &pool)
        precondition(opened.isEmpty, "forged bytes were opened")
    }

    private static func seal(
        _ session: TunnelSession, _ type: UInt8, _ content: [UInt8], _ buffer: inout [UInt8],
        _ pool: inout AEADContextPool
    ) -> [UInt8] {
        buffer.withUnsafeMutableBytes { bytes in
            guard let base = bytes.baseAddress else { return [] }
            let count = (try? session.sealControl(base, type, content, &pool)) ?? 0
            return Array(bytes.prefix(count))
        }
    }

    /// As the relay does: what is not whole moves to the front of the next bytes.
    private static func open(
        _ session: TunnelSession, _ stream: [UInt8], step: Int, capacity: Int, _ pool: inout AEADContextPool
    ) -> [UInt8] {
        var content: [UInt8] = []
        var pending: [UInt8] = []
        var vector = [iovec](repeating: iovec(), count: capacity)
        var place = 0
        while true {
            let count = pending.count
            let opened = pending.withUnsafeMutableBytes { bytes -> TunnelSession.Opened? in
                guard let base = bytes.baseAddress else { return TunnelSession.Opened() }
                guard let opened = try? session.open(base, count: count, into: &vector, capacity: capacity, pool: &pool)
                else { return nil }
                precondition(opened.consumed <= count && opened.ranges <= capacity, "out of bounds")
                for range in vector.prefix(opened.ranges) {
                    content += Array(UnsafeRawBufferPointer(start: range.iov_base, count: range.iov_len))
                }
                return opened
            }
            guard let opened, !opened.isEnd else { return content }
            pending.removeFirst(opened.consumed)
            if opened.consumed > 0 { continue }
            if place == stream.count { return content }
            precondition(pending.count <= RecordLayout.longest, "a record that never becomes whole")
            let more = min(step, stream.count - place)
            pending += stream[place..<(place + more)]
            place += more
        }
    }
}
