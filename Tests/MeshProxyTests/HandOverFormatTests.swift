// SPDX-License-Identifier: Apache-2.0
import Glibc
import Logging
import MeshLinux
import MeshModel
import MeshTunnel
import Testing

@testable import MeshProxy

/// The bytes of a hand-over: what is written is read again, and whatever else comes is an error and nothing worse.
@Suite(.serialized) struct HandOverFormatTests {
    private let peer = SPIFFEID("spiffe://mesh.test/ns/prod/sa/server")
    private let local = SPIFFEID("spiffe://mesh.test/ns/prod/sa/client")

    private func address(_ text: String) throws -> SocketAddress { try #require(SocketAddress(text)) }

    /// A session with one key in both directions.
    private func session(_ suite: CipherSuite) throws -> TunnelSession {
        var writer = StateWriter()
        writer.put(suite.rawValue)
        writer.put(text: try #require(self.peer).description)
        writer.put(text: try #require(self.local).description)
        writer.put(Int64(1_900_000_000))
        for flag in [true, true, false, true] { writer.put(flag) }
        for direction in 0..<2 {
            for byte in 0..<(suite == .aes256GCM ? 48 : 32) { writer.put(UInt8(byte + direction)) }
            writer.put(UInt64(77 + direction))
        }
        writer.put(UInt64(12345))
        writer.put(UInt32(3))
        // Half of a NewSessionTicket.
        writer.put(UInt8(4))
        writer.put(UInt8(4))
        writer.put(Int32(200))
        writer.put(Int32(50))
        let bytes = writer.finish()
        return try bytes.withUnsafeBytes { bytes in
            var reader = StateReader(bytes)
            return try TunnelSession(from: &reader)
        }
    }

    private func kernel() throws -> KernelTunnel {
        let tunnel = KernelTunnel(suite: .aes256GCM, account: WireAccount(firstSequence: 7, firstBytes: 4000))
        tunnel.account.took(100_000)
        tunnel.budget.charge(content: 100_000, records: 9)
        tunnel.room = PipeRoom(slots: 256, used: 17)
        tunnel.isCloseSent = true
        return tunnel
    }

    /// The other ends of the sockets in a state, by which it shows whether all copies of those are closed.
    private final class FarEnds {
        private var all: [Wire] = []

        func pair() throws -> CInt {
            let (near, far) = try Linux.socketPair()
            self.all.append(Wire(owning: far))
            return near
        }

        var areAllClosed: Bool {
            self.all.allSatisfy { wire in
                var byte: UInt8 = 0
                while true {
                    switch try? Linux.receive(wire.fd, &byte, 1) {
                    case .done(0)?: return true
                    case .done?: continue
                    // A reset is an end too.
                    case nil: return true
                    case .wouldBlock?: return false
                    }
                }
            }
        }
    }

    /// A connection with everything in it that its stage can have, on sockets that live.
    private func connection(
        _ stage: CarriedConnection.Stage, _ seed: Int, _ ends: FarEnds
    ) throws -> CarriedConnection {
        let origin: SetupStateMachine.Origin =
            switch stage {
            case .captured, .asking, .relaying: .capturedOutbound
            case .securing, .waiting: .tunnel
            case .pooled: .pool
            }
        var record = ConnectionRecord(
            id: UInt64(seed), direction: seed % 2 == 0 ? .outbound : .inbound,
            sourceAddress: try self.address("10.0.0.1:4000"), destination: try self.address("[fd00::1]:80"),
            wire: .splice, openedAt: 1_700_000_000_000_000_000)
        record.source = TestMesh.client
        record.sourceIdentity = self.local
        record.service = NamespacedName(namespace: "prod", name: "web")
        record.destinationWorkload = TestMesh.server
        record.upstream = try self.address("10.0.0.2:15008")
        record.engine = .user
        record.trace = .random()
        record.detail = "ein Wort ü"
        let carried = CarriedConnection(stage, origin: origin, record: record)
        if stage != .pooled { carried.client.descriptor = try ends.pair() }
        if stage == .asking || stage == .relaying || stage == .pooled { carried.server.descriptor = try ends.pair() }
        carried.workload = stage == .captured || stage == .securing ? nil : TestMesh.client
        carried.countsForWorkload = true
        carried.other = seed % 3 == 0 ? TestMesh.neighbour : nil
        carried.endpoint = .init(workload: TestMesh.server, address: try self.address("10.0.0.2:8080"))
        carried.destination = .init(
            source: TestMesh.client, destination: TestMesh.server, address: try self.address("10.0.0.2:15008"),
            expected: try #require(self.peer), identity: [UInt8](repeating: 9, count: 32))
        carried.policyInput = PolicyInput(
            sourceIdentity: self.local, sourceIP: try self.address("10.0.0.1:1").ip,
            destination: try self.address("10.0.0.2:8080"))
        carried.policyWorkload = TestMesh.server
        carried.server.flags = [.bulk, .hangUp]
        if stage == .relaying || stage == .asking || stage == .pooled { carried.server.flags.insert(.tunnel) }
        carried.client.bytes = 123
        carried.client.sendable = [1, 2, 3]
        carried.server.opened = [UInt8](repeating: 4, count: 1000)
        carried.server.tail = [5]
        if stage == .relaying, seed % 2 == 0 {
            let (read, write) = try Pipe(capacity: 1 << 16).release()
            Glibc.write(write, "pipe", 4)
            carried.client.pipe = .init(read: read, write: write, count: 4)
        }
        if stage == .relaying, seed % 2 == 1 {
            carried.kernel = try self.kernel()
        } else if stage != .captured, stage != .securing {
            carried.session = try self.session(seed % 3 == 0 ? .aes256GCM : .chaCha20Poly1305)
        }
        carried.namespace = 4_026_531_840
        carried.head = Array("CONNECT ".utf8)
        carried.earlyCount = 5
        carried.isQuiet = stage == .pooled
        carried.isHalfClosed = seed % 2 == 1
        carried.quietFor = 1_000_000
        carried.deadlineLeft = 5_000_000_000
        return carried
    }

    private static let stages: [CarriedConnection.Stage] = [
        .captured, .securing, .waiting, .asking, .relaying, .pooled,
    ]

    private func carried(_ ends: FarEnds = FarEnds()) throws -> CarriedState {
        var carried = CarriedState()
        carried.lastID = 4711
        for seed in 0..<12 {
            carried.connections.append(
                try self.connection(Self.stages[seed % Self.stages.count], seed / 6 + seed, ends))
        }
        carried.ejections = [
            CarriedEjection(
                key: .init(
                    service: NamespacedName(namespace: "prod", name: "web"), port: 80, workload: TestMesh.server,
                    address: try self.address("10.0.0.2:8080")), until: 99, times: 2)
        ]
        return carried
    }

    private func bytes(_ state: borrowing ProxyState) -> [UInt8] { state.withUnsafeBytes { Array($0) } }

    /// Reads bytes with copies of the descriptors.
    private func read(_ bytes: [UInt8], _ descriptors: [CInt]) -> (CarriedState, HandOverSummary) {
        var summary = HandOverSummary()
        let copies = descriptors.map { fcntl($0, F_DUPFD_CLOEXEC, 0) }
        var received = SecretBytes()
        bytes.withUnsafeBytes { received.append($0) }
        let state = ProxyState(received, OwnedDescriptors(copies), summary: HandOverSummary())
        return (CarriedState(state, &summary), summary)
    }

    @Test func `what was written is what is read`() throws {
        let state = try self.carried().state(HandOverSummary())
        let bytes = self.bytes(state)
        let (carried, summary) = self.read(bytes, state.descriptors)
        #expect(summary.closed.isEmpty && carried.lastID == 4711 && carried.ejections.count == 1)
        #expect(carried.connections.map(\.stage) == Self.stages + Self.stages)
        #expect(carried.connections.allSatisfy { $0.record.detail == "ein Wort ü" && $0.record.trace != nil })
        // Written again, every field is where it was.
        let again = carried.state(HandOverSummary())
        #expect(self.bytes(again) == bytes)
        #expect(again.descriptors.count == state.descriptors.count)
    }

    @Test func `fields and records that nobody knows yet are skipped`() throws {
        let state = try self.carried().state(HandOverSummary())
        let bytes = self.bytes(state)
        var extended = Array(bytes.prefix(10))
        var offset = 10
        while offset < bytes.count {
            let count = bytes[(offset + 1)..<(offset + 5)].reversed().reduce(0) { $0 << 8 | Int($1) }
            let content = bytes[(offset + 5)..<(offset + 5 + count)]
            extended.append(77)
            extended += [3, 0, 0, 0, 1, 2, 3]
            extended.append(bytes[offset])
            let length = UInt32(count + 2)
            extended += (0..<4).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) }
            extended += content
            extended += [0xaa, 0xbb]
            offset += 5 + count
        }
        let (carried, summary) = self.read(extended, state.descriptors)
        #expect(summary.closed.isEmpty && carried.connections.count == 12)
        #expect(self.bytes(carried.state(HandOverSummary())) == bytes)
    }

    @Test func `another version is refused in words`() throws {
        let state = try self.carried().state(HandOverSummary())
        var bytes = self.bytes(state)
        #expect(bytes.withUnsafeBytes { HandOverFormat.version(of: $0) } == 1)
        bytes[8] = 2
        #expect(bytes.withUnsafeBytes { HandOverFormat.version(of: $0) } == 2)
        let (carried, summary) = self.read(bytes, state.descriptors)
        #expect(carried.connections.isEmpty && carried.lastID == 0)
        #expect(summary.closed.keys.first?.contains("version 2") == true && summary.closed.count == 1)
        bytes[0] ^= 1
        #expect(bytes.withUnsafeBytes { HandOverFormat.version(of: $0) } == nil)
        #expect(self.read(bytes, state.descriptors).1.closed.count == 1)
    }

    @Test func `bytes that end early are an error, and no descriptor is lost`() throws {
        let ends = FarEnds()
        let state = try self.carried(ends).state(HandOverSummary())
        let bytes = self.bytes(state)
        for count in stride(from: 0, to: bytes.count, by: 37) {
            let (carried, summary) = self.read(Array(bytes.prefix(count)), state.descriptors)
            #expect(!summary.closed.isEmpty && carried.connections.count <= 12)
        }
        #expect(!ends.areAllClosed)
        _ = consume state
        #expect(ends.areAllClosed)
    }

    @Test func `flipped bits cost a connection at most, and never a descriptor or the process`() throws {
        let ends = FarEnds()
        let state = try self.carried(ends).state(HandOverSummary())
        let bytes = self.bytes(state)
        var random = FastRandom(seed: 4711)
        for _ in 0..<1000 {
            var broken = bytes
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                broken[Int.random(in: 10..<bytes.count, using: &random)] ^= UInt8(
                    1 << Int.random(in: 0..<8, using: &random))
            }
            let (carried, _) = self.read(broken, state.descriptors)
            // What is read can be written.
            _ = self.bytes(carried.state(HandOverSummary()))
        }
        #expect(!ends.areAllClosed)
        _ = consume state
        #expect(ends.areAllClosed)
    }

    @Test func `a descriptor is given once and only if it is there`() throws {
        let ends = FarEnds()
        let state = try self.carried(ends).state(HandOverSummary())
        let bytes = self.bytes(state)
        let (none, summary) = self.read(bytes, [])
        #expect(none.connections.isEmpty && summary.closed.values.reduce(0, +) == 12)
        let (some, other) = self.read(bytes, Array(state.descriptors.prefix(3)))
        #expect(some.connections.count < 12 && !other.closed.isEmpty)
        _ = consume some
        _ = consume none
        #expect(!ends.areAllClosed)
        _ = consume state
        #expect(ends.areAllClosed)
    }

    @Test func `a proxy starts whatever it is given`() throws {
        let ends = FarEnds()
        let state = try self.carried(ends).state(HandOverSummary())
        let bytes = self.bytes(state)
        var random = FastRandom(seed: 1)
        for round in 0..<40 {
            var broken = bytes
            if round > 0 { broken[Int.random(in: 10..<bytes.count, using: &random)] ^= 0xff }
            let copies = state.descriptors.map { fcntl($0, F_DUPFD_CLOEXEC, 0) }
            var configuration = ProxyConfiguration(
                loops: 2, tunnelListener: SocketAddress(ip: TestMesh.loopback, port: 0))
            configuration.engine = .user
            configuration.aead = .openssl
            let proxy = Proxy(
                configuration: configuration, hooks: ProxyHooks(originalDestination: { _ in nil }),
                logger: Logger(label: "test"))
            try broken.withUnsafeBytes { bytes in
                _ = try proxy.start(adopting: ProxyState(bytes: bytes, descriptors: copies))
            }
            proxy.stop()
        }
        #expect(!ends.areAllClosed)
        _ = consume state
        #expect(ends.areAllClosed)
    }
}
