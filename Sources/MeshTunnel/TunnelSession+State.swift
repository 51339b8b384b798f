// SPDX-License-Identifier: Apache-2.0
import MeshModel

/// An established session on its way from one process to another.
extension TunnelSession {
    /// Writes the session, keys included. Whoever reads it owns it from then on: two owners would use a nonce twice.
    package func write(to writer: inout StateWriter) {
        writer.put(self.suite.rawValue)
        writer.put(text: self.peer.description)
        writer.put(text: self.local.description)
        writer.put(self.notAfter)
        for flag in [self.isResumed, self.isReusable, self.mustUpdateKey, self.peerHasFixedKeys] { writer.put(flag) }
        self.sending.write(to: &writer)
        self.receiving.write(to: &writer)
        self.budget.write(to: &writer)
        writer.put(UInt32(clamping: self.barren))
        self.postHandshake.write(to: &writer)
    }

    package convenience init(from reader: inout StateReader) throws(StateError) {
        let suite = try CipherSuite(from: &reader)
        guard let peer = SPIFFEID(try reader.text(limit: 2048)), let local = SPIFFEID(try reader.text(limit: 2048))
        else { throw StateError("a session of nobody") }
        let notAfter = try reader.integer(Int64.self)
        let isResumed = try reader.bool()
        let isReusable = try reader.bool()
        let mustUpdateKey = try reader.bool()
        let peerHasFixedKeys = try reader.bool()
        var sending = try TrafficKeys(suite: suite, from: &reader)
        defer { sending.erase() }
        var receiving = try TrafficKeys(suite: suite, from: &reader)
        defer { receiving.erase() }
        self.init(
            suite: suite, sending: sending, receiving: receiving, peer: peer, local: local, notAfter: notAfter,
            isResumed: isResumed)
        self.isReusable = isReusable
        self.mustUpdateKey = mustUpdateKey
        self.peerHasFixedKeys = peerHasFixedKeys
        self.budget = try KeyBudget(from: &reader)
        self.barren = Int(try reader.integer(UInt32.self))
        self.postHandshake = try PostHandshakeReader(from: &reader)
    }
}

extension CipherSuite {
    package init(from reader: inout StateReader) throws(StateError) {
        let number = try reader.integer(UInt16.self)
        guard let suite = CipherSuite(rawValue: number) else { throw StateError("cipher suite \(number)") }
        self = suite
    }
}
