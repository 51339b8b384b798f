// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import MeshModel
import MeshTunnel

/// All that one data plane hands to the next, as values.
struct CarriedState: Sendable {
    /// The number of the youngest connection.
    var lastID: UInt64 = 0
    var tunnels: [Listener] = []
    var namespaces: [CarriedNamespace] = []
    var connections: [CarriedConnection] = []
    var ejections: [CarriedEjection] = []
    /// Of a process that may have died since: established relays, and the pipes of its loops.
    var kept: [CarriedConnection] = []
    var keptPipes: [KeptPipes] = []

    var listenerCount: Int { self.tunnels.count + self.namespaces.reduce(0) { $0 + $1.listeners.joined().count } }
}

extension CarriedState {
    /// Writes it in the newest form. The connections are empty afterwards.
    consuming func state(_ summary: HandOverSummary) -> ProxyState {
        var writer = StateWriter()
        var descriptors = OwnedDescriptors()
        writer.put(HandOverFormat.magic)
        writer.put(UInt16(HandOverFormat.versions.upperBound))
        writer.record(HandOverFormat.Kind.counters) { $0.put(self.lastID) }
        if !self.tunnels.isEmpty {
            writer.record(HandOverFormat.Kind.tunnelListener) {
                CarriedNamespace.write(self.tunnels, to: &$0, &descriptors)
            }
        }
        for namespace in self.namespaces {
            writer.record(HandOverFormat.Kind.namespace) { namespace.write(to: &$0, &descriptors) }
        }
        for ejection in self.ejections { writer.record(HandOverFormat.Kind.endpoint) { ejection.write(to: &$0) } }
        for connection in self.connections {
            writer.record(HandOverFormat.Kind.connection) { connection.write(to: &$0, &descriptors) }
        }
        for pipes in self.keptPipes {
            writer.record(HandOverFormat.Kind.keptPipes) { pipes.write(to: &$0, &descriptors) }
        }
        for relay in self.kept {
            guard let balance = relay.balance else { continue }
            writer.record(HandOverFormat.Kind.keptRelay) { writer in
                balance.write(to: &writer)
                relay.write(to: &writer, &descriptors)
            }
        }
        writer.record(HandOverFormat.Kind.end) { _ in }
        return ProxyState(writer.finish(), descriptors, summary: summary)
    }

    /// Reads what can be read; the rest is closed, and said in the summary.
    init(_ state: consuming ProxyState, _ summary: inout HandOverSummary) {
        self.init()
        var descriptors = state.owned
        state.bytes.withUnsafeBytes { bytes in
            do throws(StateError) {
                try self.read(bytes, &descriptors, &summary)
            } catch {
                summary.close("the hand-over cannot be read: \(error)")
            }
        }
        self.findKept(&summary)
    }

    private mutating func read(
        _ bytes: UnsafeRawBufferPointer, _ descriptors: inout OwnedDescriptors, _ summary: inout HandOverSummary
    ) throws(StateError) {
        guard let version = HandOverFormat.version(of: bytes) else { throw StateError("it is none") }
        guard HandOverFormat.versions.contains(version) else {
            throw StateError("it has version \(version), and \(HandOverFormat.versions) are known here")
        }
        var reader = StateReader(bytes)
        _ = try reader.raw(10)
        while let (kind, record) = try reader.record() {
            if kind == HandOverFormat.Kind.end { return }
            var content = record
            do throws(StateError) {
                try self.read(kind, &content, &descriptors, &summary)
            } catch {
                // The others are none the worse for it.
                summary.close("a record of kind \(kind) cannot be read: \(error)")
            }
        }
        throw StateError("its end is missing")
    }

    private mutating func read(
        _ kind: UInt8, _ content: inout StateReader, _ descriptors: inout OwnedDescriptors,
        _ summary: inout HandOverSummary
    ) throws(StateError) {
        switch kind {
        case HandOverFormat.Kind.counters: self.lastID = try content.count()
        case HandOverFormat.Kind.tunnelListener:
            self.tunnels = try CarriedNamespace.listeners(.tunnel, from: &content, &descriptors)
            summary.listeners += self.tunnels.count
        case HandOverFormat.Kind.namespace:
            let namespace = try CarriedNamespace(from: &content, &descriptors)
            self.namespaces.append(namespace)
            summary.listeners += namespace.listeners.joined().count
        case HandOverFormat.Kind.endpoint: self.ejections.append(try CarriedEjection(from: &content))
        case HandOverFormat.Kind.connection:
            let connection = try CarriedConnection(from: &content, &descriptors)
            self.connections.append(connection)
            switch connection.stage {
            case .captured, .securing: summary.restarted += 1
            case .waiting, .pooled: if connection.isQuiet { summary.tunnels += 1 } else { summary.restarted += 1 }
            case .asking, .relaying: summary.carried += 1
            }
        case HandOverFormat.Kind.keptPipes: self.keptPipes.append(try KeptPipes(from: &content, &descriptors))
        case HandOverFormat.Kind.keptRelay:
            let balance = try RelayBalance(from: &content)
            let relay = try CarriedConnection(from: &content, &descriptors)
            guard relay.stage == .relaying, relay.session == nil else {
                throw StateError("a relay that cannot be kept")
            }
            relay.balance = balance
            self.kept.append(relay)
        default: break
        }
    }
}
