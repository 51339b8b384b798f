// SPDX-License-Identifier: Apache-2.0
import MeshModel
import MeshTunnel

extension CarriedConnection {
    /// Writes the connection and gives its descriptors to the list. Its session is the reader's from then on.
    func write(to writer: inout StateWriter, _ descriptors: inout OwnedDescriptors) {
        writer.put(self.stage.rawValue)
        writer.put(self.origin.number)
        self.record.write(to: &writer)
        writer.put(optional: self.workload) { $0.put(name: $1) }
        writer.put(self.countsForWorkload)
        writer.put(optional: self.other) { $0.put(name: $1) }
        writer.put(optional: self.endpoint) { writer, endpoint in
            writer.put(name: endpoint.workload)
            writer.put(address: endpoint.address)
        }
        writer.put(optional: self.destination) { writer, destination in
            writer.put(name: destination.source)
            writer.put(name: destination.destination)
            writer.put(address: destination.address)
            writer.put(text: destination.expected.description)
            writer.put(bytes: destination.identity)
        }
        writer.put(optional: self.policyInput) { writer, input in
            writer.put(optional: input.sourceIdentity) { $0.put(text: $1.description) }
            writer.put(address: SocketAddress(ip: input.sourceIP, port: 0))
            writer.put(address: input.destination)
        }
        writer.put(optional: self.policyWorkload) { $0.put(name: $1) }
        self.client.write(to: &writer, &descriptors)
        self.server.write(to: &writer, &descriptors)
        writer.put(optional: self.session) { $1.write(to: &$0) }
        writer.put(optional: self.kernel) { $1.write(to: &$0) }
        writer.put(self.namespace)
        writer.put(bytes: self.head)
        writer.put(UInt32(clamping: self.earlyCount))
        for flag in [self.isQuiet, self.isHalfClosed] { writer.put(flag) }
        writer.put(self.quietFor)
        writer.put(self.deadlineLeft)
        writer.put(optional: self.kernel?.receipts) { $1.write(to: &$0) }
        self.session = nil
    }

    /// - Throws: when the bytes are not what they should be; descriptors that were taken are closed then.
    convenience init(from reader: inout StateReader, _ descriptors: inout OwnedDescriptors) throws(StateError) {
        guard let stage = Stage(rawValue: try reader.integer()),
            let origin = SetupStateMachine.Origin(number: try reader.integer())
        else { throw StateError("a connection in an unknown state") }
        self.init(stage, origin: origin, record: try ConnectionRecord(from: &reader))
        self.workload = try reader.optional(StateReader.name)
        self.countsForWorkload = try reader.bool()
        self.other = try reader.optional(StateReader.name)
        self.endpoint = try reader.optional { reader throws(StateError) in
            Endpoint(workload: try StateReader.name(&reader), address: try StateReader.address(&reader))
        }
        self.destination = try reader.optional { reader throws(StateError) in
            Destination(
                source: try StateReader.name(&reader), destination: try StateReader.name(&reader),
                address: try StateReader.address(&reader), expected: try StateReader.identity(&reader),
                identity: try reader.bytes(limit: 64))
        }
        self.policyInput = try reader.optional { reader throws(StateError) in
            PolicyInput(
                sourceIdentity: try reader.optional(StateReader.identity),
                sourceIP: try StateReader.address(&reader).ip, destination: try StateReader.address(&reader))
        }
        self.policyWorkload = try reader.optional(StateReader.name)
        self.client = try CarriedSide(from: &reader, &descriptors)
        self.server = try CarriedSide(from: &reader, &descriptors)
        self.session = try reader.optional { reader throws(StateError) in try TunnelSession(from: &reader) }
        self.kernel = try reader.optional { reader throws(StateError) in try KernelTunnel(from: &reader) }
        self.namespace = try reader.integer()
        self.head = try reader.bytes(limit: 512 << 10)
        self.earlyCount = Int(try reader.integer(UInt32.self))
        self.isQuiet = try reader.bool()
        self.isHalfClosed = try reader.bool()
        self.quietFor = try reader.count()
        self.deadlineLeft = try reader.count()
        if !reader.isAtEnd {
            let receipts = try reader.optional { reader throws(StateError) in try WireAccount(from: &reader) }
            self.kernel?.receipts = receipts
        }
        try self.check()
    }

    /// Whether the parts belong together, as far as the loops count on that.
    private func check() throws(StateError) {
        let hasTunnel = (self.session == nil) != (self.kernel == nil)
        guard self.session == nil || self.kernel == nil else { throw StateError("a tunnel of two engines") }
        let isGood =
            switch self.stage {
            case .captured:
                self.origin == .capturedOutbound || self.origin == .capturedInbound
            case .securing: self.origin == .tunnel
            case .waiting: self.origin == .tunnel && self.session != nil && self.kernel == nil && self.workload != nil
            case .asking:
                self.origin == .capturedOutbound && self.session != nil && self.kernel == nil && self.workload != nil
                    && self.server.descriptor >= 0
            case .relaying:
                self.workload != nil && self.origin != .pool && self.client.descriptor >= 0
                    && self.server.descriptor >= 0
                    && (hasTunnel ? 1 : 0)
                        == [self.client, self.server].count { $0.flags.contains(.tunnel) }
            case .pooled:
                self.origin == .pool && self.session != nil && self.kernel == nil && self.workload != nil
                    && self.destination != nil && self.server.descriptor >= 0
            }
        let hasClient = self.client.descriptor >= 0 || self.stage == .pooled
        guard isGood, hasClient else { throw StateError("a connection whose parts do not belong together") }
    }
}

extension SetupStateMachine.Origin {
    fileprivate var number: UInt8 {
        switch self {
        case .capturedOutbound: 1
        case .capturedInbound: 2
        case .tunnel: 3
        case .pool: 4
        }
    }

    fileprivate init?(number: UInt8) {
        switch number {
        case 1: self = .capturedOutbound
        case 2: self = .capturedInbound
        case 3: self = .tunnel
        case 4: self = .pool
        default: return nil
        }
    }
}
