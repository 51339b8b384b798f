// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import Testing

@testable import MeshProxy

/// A kernel that fails at every call that the proxy makes: each connection goes on correctly or ends with one reason,
/// and nothing is left behind. Each test has a process of its own, because it counts descriptors.
@Suite(.serialized) struct FaultTests {
    @Test func `no system call that fails once breaks more than its connection: local`() async {
        await #expect(processExitsWith: .success) { try await FaultSweep(.local).run() }
    }

    @Test func `no system call that fails once breaks more than its connection: tunnel`() async {
        await #expect(processExitsWith: .success) { try await FaultSweep(.tunnel).run() }
    }

    @Test func `calls that keep failing are survived`() async {
        await #expect(processExitsWith: .success) {
            for way in Way.allCases { try await FaultSweep(way).runLasting() }
        }
    }

    @Test func `calls that move a little at a time only take longer`() async {
        await #expect(processExitsWith: .success) {
            for way in Way.allCases { try await FaultSweep(way).runShort() }
        }
    }

    @Test func `descriptors that run out are survived, and pipes come back`() async {
        await #expect(processExitsWith: .success) { try await FaultSweep(.local).runWithoutDescriptors() }
    }
}

/// One mesh, an application that echoes, and a connection made again and again while the kernel fails somewhere.
private struct FaultSweep {
    let way: Way
    let mesh: TestMesh
    let app: App
    let scripts: [FaultScript]
    /// Enough to be spliced, and several records.
    private let size = 100_000

    init(_ way: Way) async throws {
        self.way = way
        self.mesh = try TestMesh {
            $0.connectTimeout = .seconds(2)
            $0.lentPipesPerLoop = 1
        }
        self.app = try App.echo()
        try self.mesh.update(destination: way.destination)
        let nodes = way == .tunnel ? [self.mesh.a, self.mesh.b] : [self.mesh.a]
        self.scripts = try nodes.map { _ in try FaultScript() }
        for (script, node) in zip(self.scripts, nodes) { await script.attach(to: node) }
    }

    private enum Outcome: Equatable {
        /// All came back, then the end.
        case exact
        /// A part came back and was right, then an error.
        case broken(CInt)
        /// Wrong bytes, an end that came too early, or nothing for ten seconds.
        case wrong(String)
    }

    /// Sends, half-closes and reads back.
    private func talk() async throws -> Outcome {
        let wire = try self.mesh.dial(self.app.address)
        let size = self.size
        return try await onThread {
            var failure: CInt = 0
            do { try wire.writePattern(size) } catch { failure = (error as? SystemError)?.errno ?? -1 }
            wire.finish()
            var right = 0
            do {
                right = try wire.readPattern(size)
                if right < size { return failure == 0 ? .wrong("right up to \(right)") : .broken(failure) }
                return try wire.read(1).isEmpty ? .exact : .wrong("more than was sent")
            } catch {
                let code = (error as? SystemError)?.errno ?? -1
                return code == ETIMEDOUT ? .wrong("nothing came for ten seconds behind \(right)") : .broken(code)
            }
        }
    }

    /// Talks once, and checks what is left.
    private func check(_ what: String) async throws {
        let before = (self.mesh.a.closedRecords.count, self.mesh.b.closedRecords.count)
        let outcome = try await self.talk()
        for script in self.scripts { script.clear() }
        try await self.settle(what)
        let records = self.mesh.a.closedRecords.dropFirst(before.0)
        let others = self.mesh.b.closedRecords.dropFirst(before.1)
        if case .wrong(let text) = outcome { Issue.record("\(what): \(text) \(records.first?.detail ?? "")") }
        // A tunnel that breaks off while it is made is made again, twice.
        #expect(records.count == 1 && others.count <= (self.way == .tunnel ? 5 : 0), "\(what)")
        for record in records + others { #expect(record.reason != nil, "\(what)") }
        if records.first?.reason == .completed { #expect(outcome == .exact, "\(what)") }
        if outcome != .exact { #expect(records.first?.detail != nil, "\(what)") }
    }

    /// Waits until nothing is open, and expects that nothing is lent.
    private func settle(_ what: String) async throws {
        for node in [self.mesh.a, self.mesh.b] {
            var statistics = await node.proxy.statistics()
            for _ in 0..<2000
            where statistics.connections > 0 || statistics.buffersLent > 0 || statistics.pipesLent > 0 {
                try await Task.sleep(for: .milliseconds(2))
                statistics = await node.proxy.statistics()
            }
            #expect(statistics.connections == 0, "\(what): open")
            #expect(statistics.buffersLent == 0, "\(what): blocks")
            #expect(statistics.pipesLent == 0, "\(what): pipes")
        }
    }

    /// Opens everything that stays open, and counts it.
    private func warmUp() async throws -> Int {
        for _ in 0..<3 {
            #expect(try await self.talk() == .exact)
            try await self.settle("warm")
        }
        return Self.openDescriptors()
    }

    private func expectDescriptors(_ before: Int) async throws {
        // A pipe that stays in the pool may have come later.
        for _ in 0..<500 where Self.openDescriptors() > before + 2 { try await Task.sleep(for: .milliseconds(10)) }
        let open = Self.openDescriptors()
        #expect(open <= before + 2, "\(Self.descriptors())")
    }

    private static func openDescriptors() -> Int {
        (CInt(0)..<2048).reduce(0) { fcntl($1, F_GETFD) >= 0 ? $0 + 1 : $0 }
    }

    /// What is open, for the eye.
    private static func descriptors() -> [String] {
        (CInt(0)..<2048).filter { fcntl($0, F_GETFD) >= 0 }.map { fd in
            if let own = try? Linux.localEndpoint(fd) {
                let peer = (try? Linux.peerEndpoint(fd)).map { "\($0.port)" } ?? "-"
                return "\(fd) tcp \(own.port) \(peer)"
            }
            var path = [CChar](repeating: 0, count: 256)
            readlink("/proc/self/fd/\(fd)", &path, 255)
            return "\(fd) \(String(decoding: path.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))"
        }
    }

    func run() async throws {
        let before = try await self.warmUp()
        for script in self.scripts { script.clear() }
        #expect(try await self.talk() == .exact)
        try await self.settle("count")
        let counts = self.scripts.map { script in FaultScript.Call.allCases.map { script.calls($0) } }
        for (node, script) in self.scripts.enumerated() {
            for (call, count) in zip(FaultScript.Call.allCases, counts[node]) {
                for number in 1...8 where number <= count {
                    for answer in call.answers {
                        for other in self.scripts { other.clear() }
                        script.add(call, first: number, answer)
                        try await self.check("\(self.way), node \(node): \(call) \(number) \(answer)")
                    }
                }
            }
        }
        try await self.expectDescriptors(before)
    }

    func runLasting() async throws {
        let before = try await self.warmUp()
        for script in self.scripts {
            for call in FaultScript.Call.allCases {
                for answer in call.answers {
                    // Later for ever is no answer of a kernel whose socket is ready, and nobody could accept.
                    if answer == .error(EAGAIN) || call == .accept { continue }
                    script.clear()
                    script.add(call, first: 1, every: 1, answer)
                    if case .short = answer { continue }
                    try await self.check("\(self.way): every \(call) \(answer)")
                }
            }
        }
        #expect(try await self.talk() == .exact)
        try await self.settle("after")
        try await self.expectDescriptors(before)
    }

    func runShort() async throws {
        let before = try await self.warmUp()
        let moving: [FaultScript.Call] = [.receive, .readVector, .send, .sendVector, .spliceIn, .spliceOut]
        for (every, count) in [(1, 997), (2, 1), (3, 4096), (5, 0)] {
            for script in self.scripts {
                script.clear()
                for call in moving {
                    script.add(call, first: 1, every: every, count == 0 ? .error(EAGAIN) : .short(count))
                }
                script.add(.discard, first: 1, every: every, .short(1))
                script.add(.peek, first: 1, every: every, .short(3))
            }
            #expect(try await self.talk() == .exact, "every \(every): \(count)")
            #expect(self.scripts.allSatisfy { $0.injected > 0 })
            try await self.settle("every \(every): \(count)")
        }
        for script in self.scripts { script.clear() }
        try await self.expectDescriptors(before)
    }

    func runWithoutDescriptors() async throws {
        let before = try await self.warmUp()
        let script = self.scripts[0]
        // A pipe is thrown away with what is in it, and there is no other: later there is one again.
        for _ in 0..<3 {
            script.clear()
            script.add(.spliceOut, first: 1, .error(EPIPE))
            script.add(.pipe, first: 1, every: 1, .error(EMFILE))
            try await self.check("no pipe")
        }
        script.clear()
        #expect(try await self.talk() == .exact)
        #expect(script.calls(.spliceOut) > 0)
        try await self.settle("after")
        // Nothing can be accepted, not even to be refused; later it can.
        script.add(.accept, first: 1, every: 1, .error(EMFILE))
        script.add(.socket, first: 1, every: 1, .error(EMFILE))
        let wire = try self.mesh.dial(self.app.address)
        for _ in 0..<1000 where script.calls(.accept) < 4 { try await Task.sleep(for: .milliseconds(2)) }
        script.clear()
        // It is accepted in the end, be it to be refused; the next one is served.
        wire.finish()
        #expect(try await onThread { wire.endingError() } != ETIMEDOUT)
        #expect(try await self.talk() == .exact)
        try await self.settle("accepted")
        let count = self.mesh.a.closedRecords.count
        // The spare descriptor is back: one is refused in words.
        script.clear()
        script.add(.accept, first: 1, .error(EMFILE))
        #expect(try await self.talk() != .exact)
        try await self.settle("refused")
        #expect(self.mesh.a.closedRecords.count == count + 1)
        #expect(self.mesh.a.closedRecords.last?.reason == .resourceExhausted)
        try await self.expectDescriptors(before)
    }
}
