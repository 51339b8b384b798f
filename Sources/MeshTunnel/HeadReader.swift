// SPDX-License-Identifier: Apache-2.0

/// Collects the head of one HTTP/1.1 message up to its empty line and cuts it into lines, strictly: every line ends with
/// CRLF, no folded lines, no control characters. What a lenient parser could read in two ways is refused.
struct HeadReader {
    /// The most that a head may take (bytes).
    static let limit = 16 << 10
    private static let headerLimit = 64

    struct Head: Equatable {
        var startLine: String
        /// Names in lower case.
        var headers: [(name: String, value: String)]

        static func == (left: Self, right: Self) -> Bool {
            left.startLine == right.startLine && left.headers.elementsEqual(right.headers, by: ==)
        }

        /// The only header of that name; nil when there is none.
        func single(_ name: String) throws(TunnelError) -> String? {
            let values = self.headers.filter { $0.name == name }
            if values.count > 1 { throw HeadReader.broken("header \(name) twice") }
            return values.first?.value
        }
    }

    /// What is here of the head.
    private(set) var bytes: [UInt8] = []

    /// Takes bytes until the head is complete.
    ///
    /// - Returns: how many of `input` belong to the head, and the head once it is complete.
    mutating func read(_ input: UnsafeRawBufferPointer) throws(TunnelError) -> (taken: Int, head: Head?) {
        var taken = 0
        while taken < input.count {
            let byte = input[taken]
            taken += 1
            if byte == 10 {
                guard self.bytes.last == 13 else { throw Self.broken("a line ends without CR") }
            } else if self.bytes.last == 13 {
                throw Self.broken("a CR without LF")
            } else if byte != 13, byte != 9, byte < 32 || byte == 127 {
                throw Self.broken("a control character")
            }
            self.bytes.append(byte)
            if byte == 10, self.bytes.suffix(4) == [13, 10, 13, 10] {
                return (taken, try self.parse())
            }
            if self.bytes.count >= Self.limit { throw Self.broken("a head of more than \(Self.limit) bytes") }
        }
        return (taken, nil)
    }

    private func parse() throws(TunnelError) -> Head {
        var lines: [ArraySlice<UInt8>] = []
        var rest = self.bytes[...].dropLast(4)
        while let end = rest.firstIndex(of: 13) {
            lines.append(rest[..<end])
            rest = rest[(end + 2)...]
        }
        lines.append(rest)
        guard lines.count <= Self.headerLimit + 1 else { throw Self.broken("too many headers") }
        var head = Head(startLine: String(decoding: lines[0], as: UTF8.self), headers: [])
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: 58), colon > line.startIndex else {
                throw Self.broken("a header without a name")
            }
            let name = line[..<colon]
            // Covers folded lines and white space before the colon too.
            guard name.allSatisfy(Self.isToken) else { throw Self.broken("a header name that is no token") }
            var value = line[(colon + 1)...]
            while let first = value.first, first == 32 || first == 9 { value = value.dropFirst() }
            while let last = value.last, last == 32 || last == 9 { value = value.dropLast() }
            head.headers.append(
                (String(decoding: name, as: UTF8.self).lowercased(), String(decoding: value, as: UTF8.self)))
        }
        return head
    }

    /// RFC 9110 §5.6.2.
    private static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case 48...57, 65...90, 97...122: true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }

    static func broken(_ what: String) -> TunnelError {
        TunnelError(.protocolViolation, "the peer's tunnel preface is malformed: \(what)")
    }
}
