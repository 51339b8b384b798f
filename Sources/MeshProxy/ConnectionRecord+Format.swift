// SPDX-License-Identifier: Apache-2.0
import MeshModel
import MeshTunnel

extension ConnectionRecord {
    func write(to writer: inout StateWriter) {
        writer.put(self.id)
        writer.put(text: self.direction.rawValue)
        writer.put(optional: self.source) { $0.put(name: $1) }
        writer.put(address: self.sourceAddress)
        writer.put(optional: self.sourceIdentity) { $0.put(text: $1.description) }
        writer.put(address: self.destination)
        writer.put(optional: self.service) { $0.put(name: $1) }
        writer.put(optional: self.destinationWorkload) { $0.put(name: $1) }
        writer.put(optional: self.destinationIdentity) { $0.put(text: $1.description) }
        writer.put(optional: self.upstream) { $0.put(address: $1) }
        writer.put(text: self.wire.rawValue)
        writer.put(optional: self.engine) { $0.put(text: $1.rawValue) }
        writer.put(optional: self.policy) { $0.put(name: $1) }
        writer.put(self.openedAt)
        writer.put(optional: self.detail) { $0.put(text: $1) }
        writer.put(optional: self.trace) { $0.put(text: $1.description) }
    }

    init(from reader: inout StateReader) throws(StateError) {
        let id = try reader.count()
        guard let direction = ConnectionDirection(rawValue: try reader.text(limit: 64)) else {
            throw StateError("a connection in no direction")
        }
        let source = try reader.optional(StateReader.name)
        let sourceAddress = try StateReader.address(&reader)
        let sourceIdentity = try reader.optional(StateReader.identity)
        let destination = try StateReader.address(&reader)
        let service = try reader.optional(StateReader.name)
        let destinationWorkload = try reader.optional(StateReader.name)
        let destinationIdentity = try reader.optional(StateReader.identity)
        let upstream = try reader.optional(StateReader.address)
        guard let wire = Wire(rawValue: try reader.text(limit: 64)) else { throw StateError("an unknown wire") }
        let engine = try reader.optional { reader throws(StateError) in try reader.text(limit: 64) }
        let policy = try reader.optional(StateReader.name)
        let openedAt = try reader.integer(UInt64.self)
        let detail = try reader.optional { reader throws(StateError) in try reader.text(limit: 1 << 16) }
        let trace = try reader.optional { reader throws(StateError) in try reader.text(limit: 64) }
        self.init(
            id: id, direction: direction, sourceAddress: sourceAddress, destination: destination, wire: wire,
            openedAt: openedAt)
        self.source = source
        self.sourceIdentity = sourceIdentity
        self.service = service
        self.destinationWorkload = destinationWorkload
        self.destinationIdentity = destinationIdentity
        self.upstream = upstream
        self.engine = engine.flatMap { TunnelEngine(rawValue: $0) }
        self.policy = policy
        self.detail = detail
        self.trace = trace.flatMap { TraceContext($0) }
    }
}

extension StateWriter {
    mutating func put(name: NamespacedName) {
        self.put(text: name.namespace)
        self.put(text: name.name)
    }

    mutating func put(address: SocketAddress) {
        self.put(address.ip.high)
        self.put(address.ip.low)
        self.put(address.port)
    }
}

extension StateReader {
    static func name(_ reader: inout StateReader) throws(StateError) -> NamespacedName {
        NamespacedName(namespace: try reader.text(limit: 1024), name: try reader.text(limit: 1024))
    }

    static func address(_ reader: inout StateReader) throws(StateError) -> SocketAddress {
        let ip = IPAddress(high: try reader.integer(), low: try reader.integer())
        return SocketAddress(ip: ip, port: try reader.integer())
    }

    static func identity(_ reader: inout StateReader) throws(StateError) -> SPIFFEID {
        guard let identity = SPIFFEID(try reader.text(limit: 2048)) else { throw StateError("a malformed identity") }
        return identity
    }
}
