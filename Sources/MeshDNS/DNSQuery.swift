// SPDX-License-Identifier: Apache-2.0

/// What a client asked.
package struct DNSQuery: Sendable {
    package let id: UInt16
    package let flags: MessageFlags
    package let question: DNSQuestion
    package let edns: EDNS?
    /// The message has to reach the resolver as it is: an operation other than a query, signed, or not for one that asks
    /// others (RD is not set).
    package let isVerbatim: Bool
    package let bytes: [UInt8]

    /// Why there is no query.
    package enum Fault: Error, Equatable {
        /// Nothing to answer: no header, or an answer.
        case ignored
        /// Answer with this code.
        case refused(ResponseCode)
    }

    package init(_ bytes: [UInt8]) throws(Fault) {
        guard let reader = MessageReader(bytes), !reader.flags.contains(.response) else { throw .ignored }
        guard reader.questionCount == 1, let question = reader.question() else { throw .refused(.formatError) }
        var records = reader.records(behind: question)
        var (edns, isSigned) = (EDNS?.none, false)
        while let record = records.next() {
            guard record.section == .additional else { continue }
            switch record.type {
            case .opt:
                guard edns == nil, let found = EDNS(record, in: reader) else { throw .refused(.formatError) }
                edns = found
            case .tsig, .sig: isSigned = true
            default: break
            }
        }
        guard !records.isMalformed else { throw .refused(.formatError) }
        if let edns, edns.version > 0 { throw .refused(.badVersion) }
        let isQuery = reader.flags.opcode == 0
        if isQuery, question.type.isTransfer { throw .refused(.notImplemented) }
        self.id = reader.id
        self.flags = reader.flags
        self.question = question
        self.edns = edns
        self.isVerbatim =
            !isQuery || isSigned || question.type == .tkey || !reader.flags.contains(.recursionDesired)
        self.bytes = bytes
    }

    /// Whether the mesh's own names can be answered: it is a query, and nothing is signed that an answer would have to
    /// sign as well.
    package var isPlain: Bool {
        self.flags.opcode == 0 && (!self.isVerbatim || !self.flags.contains(.recursionDesired))
            && self.question.type != .tkey
    }

    /// The longest answer that the client takes over UDP. Loopback carries any.
    package var datagramLimit: Int { max(EDNS.plainSize, min(Int(self.edns?.size ?? 0), 4096)) }

    /// The answer may depend on more than the question (such as the client's subnet, RFC 7871).
    package var hasOptions: Bool { !(self.edns?.options.isEmpty ?? true) }
}

extension DNSQuery {
    /// A query of nodemeshd's own.
    package init(asking question: DNSQuestion, edns: EDNS?) {
        var writer = MessageWriter(id: 0, flags: .recursionDesired, question: question)
        writer.add(edns)
        self.id = 0
        self.flags = .recursionDesired
        self.question = question
        self.edns = edns
        self.isVerbatim = false
        self.bytes = writer.bytes
    }
}
