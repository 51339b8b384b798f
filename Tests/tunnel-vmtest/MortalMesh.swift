// SPDX-License-Identifier: Apache-2.0
import Glibc
import Logging
import MeshLinux
import MeshModel
import MeshProxy
import Synchronization

/// A mesh in a process of its own, which is killed and replaced by another one that has only what was kept of it.
final class MortalMesh {
    private let path: String
    private let listener: PacketListener
    private var process: pid_t = 0
    private var line: PacketConnection?
    private var outbound = SocketAddress(ip: Mesh.loopback, port: 0)
    /// Two parcels, with three descriptors each.
    private var kept: [CInt] = []

    init() throws {
        self.path = "/tmp/mortal-\(getpid())"
        self.listener = try PacketListener(path: self.path)
        _ = try self.begin()
    }

    deinit {
        self.kill()
        self.listener.stop()
        for fd in self.kept { close(fd) }
    }

    /// A connection of the client's application to `address`.
    func dial(_ address: SocketAddress) throws -> Wire {
        _ = try self.ask("dial \(address.port)")
        return try Wire(to: self.outbound)
    }

    /// Has the process give copies of what outlives it, once that is all these relays on both nodes.
    func keep(_ relays: Int) throws {
        for _ in 0..<1000 {
            let (answer, descriptors) = try self.ask("keep")
            for fd in self.kept { close(fd) }
            self.kept = descriptors
            if answer == "kept \(relays) \(relays)" { return }
            usleep(10_000)
        }
        throw Wrong("\(relays) relays are not kept")
    }

    /// As ``keep(_:)``, however many these are.
    func keepWhatThereIs() throws {
        let (_, descriptors) = try self.ask("keep")
        for fd in self.kept { close(fd) }
        self.kept = descriptors
    }

    /// - Returns: relays that go on, and those that do not, on both nodes together.
    func dieAndGoOn() throws -> (carried: Int, lost: Int) {
        self.kill()
        return try self.begin()
    }

    private func kill() {
        guard self.process > 0 else { return }
        Glibc.kill(self.process, SIGKILL)
        waitpid(self.process, nil, 0)
        self.process = 0
        self.line = nil
    }

    private func begin() throws -> (carried: Int, lost: Int) {
        var arguments: [UnsafeMutablePointer<CChar>?] = [
            strdup("tunnel-vmtest"), strdup(Self.role), strdup(self.path), nil,
        ]
        defer { for argument in arguments { free(argument) } }
        guard posix_spawn(&self.process, "/proc/self/exe", nil, nil, &arguments, environ) == 0 else {
            throw Wrong("cannot start a process")
        }
        guard let line = try self.listener.accept() else { throw Wrong("the process does not connect") }
        try line.send(Array("begin".utf8), self.kept)
        for fd in self.kept { close(fd) }
        self.kept = []
        self.line = consume line
        let words = try self.answer().0.split(separator: " ").compactMap { Int($0) }
        guard words.count == 3, let port = UInt16(exactly: words[0]) else { throw Wrong("it does not begin") }
        self.outbound = SocketAddress(ip: Mesh.loopback, port: port)
        return (words[1], words[2])
    }

    private func ask(_ text: String) throws -> (String, [CInt]) {
        try self.line?.send(Array(text.utf8))
        return try self.answer()
    }

    private func answer() throws -> (String, [CInt]) {
        guard let message = try self.line?.receive(milliseconds: 30_000) else { throw Wrong("the process is gone") }
        return (String(decoding: message.bytes, as: UTF8.self), message.descriptors)
    }

    // MARK: - The other process

    static let role = "mortal"

    /// Runs a mesh until this process is killed, or nobody asks any more.
    static func serve(_ path: String) async throws {
        guard let address = UnixAddress(path) else { throw Wrong("no address") }
        let line = try PacketConnection(to: address)
        guard let first = try line.receive(milliseconds: 30_000) else { return }
        let start = Clock.monotonic
        let mesh = try Mesh(adopting: try Self.open(first.descriptors)) {
            $0.keepAge = .zero
            // Measuring which is faster takes longer than all the rest.
            $0.aead = .openssl
        }
        var (carried, lost) = (0, 0)
        for node in [mesh.a, mesh.b] {
            let closed = await node.proxy.adoptionComplete().closed
            carried += node.adopted.carried
            lost += node.adopted.closed.values.reduce(0, +)
            for (why, count) in closed.merging(node.adopted.closed, uniquingKeysWith: +) {
                print("# \(node.name): \(count) \(why)")
            }
        }
        print("# began in \((Clock.monotonic - start) / 1_000_000) ms")
        try line.send(Array("\(mesh.a.outbound.port) \(carried) \(lost)".utf8))
        while let message = try line.receive(milliseconds: 600_000) {
            let words = String(decoding: message.bytes, as: UTF8.self).split(separator: " ")
            if words.first == "dial", let port = words.last.flatMap({ UInt16($0) }) {
                mesh.a.journal.destination.withLock { $0 = SocketAddress(ip: Mesh.loopback, port: port) }
                try line.send(Array("yes".utf8))
                continue
            }
            let (a, b) = (
                await mesh.a.proxy.keptState(limit: 100).state, await mesh.b.proxy.keptState(limit: 100).state
            )
            let first = try Self.pack(a)
            let second = try Self.pack(b)
            try line.send(
                Array("kept \(a.state.summary.carried) \(b.state.summary.carried)".utf8),
                [
                    first.memory.raw, first.reader.raw, first.writer.raw, second.memory.raw, second.reader.raw,
                    second.writer.raw,
                ])
        }
    }

    private static func pack(_ kept: KeptState) throws -> Parcel {
        var parcel: Parcel?
        let descriptors = kept.state.descriptors
        try kept.state.withUnsafeBytes { bytes throws(SystemError) in parcel = try Parcel.pack(bytes, descriptors) }
        guard let packed = parcel.take() else { throw Wrong("no parcel") }
        return packed
    }

    private static func open(_ descriptors: [CInt]) throws -> Mesh.States {
        var states = Mesh.States()
        guard descriptors.count == 6 else { return states }
        func unpack(_ part: ArraySlice<CInt>) throws -> ProxyState {
            let ends = part.map { $0 }
            let parcel = Parcel(
                memory: FileDescriptor(owning: ends[0]), reader: FileDescriptor(owning: ends[1]),
                writer: FileDescriptor(owning: ends[2]))
            return try parcel.unpack { _, bytes, descriptors in ProxyState(bytes: bytes, descriptors: descriptors) }
        }
        states.a = try unpack(descriptors[..<3])
        states.b = try unpack(descriptors[3...])
        return states
    }
}
