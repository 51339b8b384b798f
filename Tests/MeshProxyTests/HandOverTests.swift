// SPDX-License-Identifier: Apache-2.0
import Glibc
import Logging
import MeshLinux
import MeshModel
import Synchronization
import Testing

@testable import MeshProxy

/// A data plane is replaced under traffic, in this process: every byte arrives once, in order, whatever it was doing.
@Suite(.serialized) struct HandOverTests {
    private func mesh(_ way: Way, loops: Int = 1) throws -> TestMesh {
        let mesh = try TestMesh(loops: loops)
        try mesh.update(destination: way.destination)
        return mesh
    }

    private func openDescriptors() -> Int {
        var count = 0
        for fd in CInt(0)..<4096 where fcntl(fd, F_GETFD) >= 0 { count += 1 }
        return count
    }

    /// Waits for something that is about to be so.
    private func eventually(_ what: String, _ condition: () async throws -> Bool) async throws {
        for _ in 0..<3000 {
            if try await condition() { return }
            try await Task.sleep(for: .milliseconds(10))
        }
        throw ProxyError("not in thirty seconds: \(what)")
    }

    @Test(arguments: Way.allCases)
    func `bytes under way in both directions arrive once and in order`(way: Way) async throws {
        let size = 96 << 20
        let gate = Semaphore()
        let app = try App { wire in
            let writer = try OSThread(name: "writer") {
                // The rest only behind the first hand-overs, so that they find the connection however fast it is.
                let first = 48 * Pattern.block.count
                try? wire.writePattern(first)
                gate.wait()
                try? wire.writePattern(size - first)
                wire.finish()
            }
            let right = try wire.readPattern(size)
            writer.join()
            if right != size { wire.reset() }
        }
        let mesh = try self.mesh(way)
        let wire = try mesh.dial(app.address)
        async let sent: Void = onThread {
            try wire.writePattern(size)
            wire.finish()
        }
        async let received = onThread { try (wire.readPattern(size), wire.read().count) }
        var (inMotion, carried) = (0, 0)
        try await mesh.a.waitUntilOpened(1)
        if way == .tunnel { try await mesh.b.waitUntilOpened(1) }
        for round in 0..<12 {
            try await Task.sleep(for: .milliseconds(20))
            for node in way == .tunnel ? [mesh.a, mesh.b] : [mesh.a] {
                let handOver = try await node.replace { $0.loops = 1 + round % 3 }
                #expect(handOver.given.closed.isEmpty && handOver.taken.closed.isEmpty)
                #expect(handOver.closed.closed.isEmpty)
                carried += handOver.taken.carried
                inMotion += handOver.byteCount
            }
            gate.signal()
        }
        try await sent
        let (right, rest) = try await received
        #expect(right == size && rest == 0)
        #expect(carried > 0 && inMotion > 0)
        for node in way == .tunnel ? [mesh.a, mesh.b] : [mesh.a] {
            let record = try await node.closed(1)[0]
            #expect(record.reason == .completed && node.closedRecords.count == 1 && node.opened.count == 1)
            #expect(record.bytesSent == UInt64(size) && record.bytesReceived == UInt64(size))
            let statistics = await node.proxy.statistics()
            #expect(statistics.connections == 0 && statistics.buffersLent == 0 && statistics.pipesLent == 0)
        }
    }

    @Test(arguments: Way.allCases)
    func `what waits for a reader that stands still is carried`(way: Way) async throws {
        let size = 32 << 20
        let gate = Semaphore()
        let app = try App { wire in
            gate.wait()
            let right = try wire.readPattern(size)
            try wire.write("\(right)")
            wire.finish()
        }
        let mesh = try self.mesh(way)
        let wire = try mesh.dial(app.address)
        async let answer = onThread {
            try wire.writePattern(size)
            wire.finish()
            return String(decoding: try wire.readToEnd(), as: UTF8.self)
        }
        // Until nothing moves any more: all buffers on the way are full.
        var last: UInt64 = 0
        try await self.eventually("the writer is held up") {
            try await Task.sleep(for: .milliseconds(100))
            let now = await mesh.a.proxy.connections().first?.bytesSent ?? 0
            defer { last = now }
            return now > 0 && now == last
        }
        for _ in 0..<3 {
            let handOver = try await mesh.a.replace()
            #expect(handOver.taken.carried == 1 && handOver.taken.closed.isEmpty)
            if way == .tunnel { #expect(try await mesh.b.replace().taken.carried == 1) }
        }
        // As a daemon that pumps at once what cannot leave.
        #expect(await mesh.a.proxy.connections().first?.bytesSent ?? 0 >= last)
        gate.signal()
        #expect(try await answer == "\(size)")
        #expect(try await mesh.a.closed(1)[0].bytesSent == UInt64(size))
    }

    @Test(arguments: Way.allCases)
    func `half-closed connections stay so, in either direction`(way: Way) async throws {
        let gate = Semaphore()
        let app = try App { wire in
            let request = try wire.readToEnd()
            gate.wait()
            try wire.write("got \(request.count):")
            try wire.writePattern(5 << 20)
            wire.finish()
        }
        let early = try App { wire in
            try wire.write("bye")
            wire.finish()
            gate.wait()
            _ = try wire.readToEnd()
        }
        let mesh = try self.mesh(way)
        let first = try mesh.dial(app.address)
        try first.write("request")
        first.finish()
        try await mesh.a.waitUntilOpened(1)
        let second = try mesh.dial(early.address)
        #expect(try await onThread { try second.readToEnd() } == Array("bye".utf8))
        try await mesh.a.waitUntilOpened(2)
        for _ in 0..<2 {
            #expect(try await mesh.a.replace().closed.closed.isEmpty)
            if way == .tunnel { try await mesh.b.replace() }
        }
        gate.signal()
        gate.signal()
        let answer = try await onThread { try (first.read(exactly: 6), first.readPattern(5 << 20), first.read()) }
        #expect(String(decoding: answer.0, as: UTF8.self) == "got 7:")
        #expect(answer.1 == 5 << 20 && answer.2.isEmpty)
        try second.write("late")
        second.finish()
        #expect(try await mesh.a.closed(2).allSatisfy { $0.reason == .completed })
    }

    @Test func `connections that come while there is no data plane wait, and are carried by the next`() async throws {
        let app = try App.echo()
        let mesh = try self.mesh(.tunnel)
        let wires = Mutex<[Wire]>([])
        for _ in 0..<3 {
            for node in [mesh.a, mesh.b] {
                try await node.replace(between: {
                    for number in 0..<20 {
                        let wire = try mesh.dial(app.address)
                        try wire.write("number \(number)")
                        wires.withLock { $0.append(wire) }
                    }
                })
            }
        }
        let all = wires.withLock { $0 }
        try await onThread {
            for (index, wire) in all.enumerated() {
                let text = "number \(index % 20)"
                if try wire.read(exactly: text.utf8.count) != Array(text.utf8) { throw ProxyError("wrong echo") }
                wire.finish()
                if try !wire.readToEnd().isEmpty { throw ProxyError("more than was sent") }
            }
        }
        #expect(try await mesh.a.closed(all.count).allSatisfy { $0.reason == .completed })
        #expect(Set(try await mesh.a.closed(all.count).map(\.id)).count == all.count)
    }

    @Test func `listeners that outlive their data plane keep what waits there`() async throws {
        let app = try App.echo()
        let mesh = try self.mesh(.local)
        let wires = Mutex<[Wire]>([])
        let handOver = try await mesh.a.replace(isCrash: true, change: { $0.loops = 2 }) {
            for _ in 0..<10 {
                let wire = try mesh.dial(app.address)
                try wire.write("hello")
                wires.withLock { $0.append(wire) }
            }
        }
        #expect(handOver.taken.listeners > 0 && handOver.taken.carried == 0 && handOver.taken.closed.isEmpty)
        let all = wires.withLock { $0 }
        try await onThread {
            for wire in all where try wire.read(exactly: 5) != Array("hello".utf8) { throw ProxyError("wrong echo") }
        }
    }

    @Test func `tunnels that stand ready carry the next connections`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh { $0.tunnelPool.makesSpare = false }
        try mesh.update()
        func talk(_ text: String) async throws {
            let wire = try mesh.dial(app.address)
            try wire.write(text)
            #expect(try await onThread { try wire.read(exactly: text.utf8.count) } == Array(text.utf8))
            wire.finish()
            _ = try await onThread { try wire.readToEnd() }
        }
        for round in 0..<4 {
            try await talk("round \(round)")
            for node in [mesh.a, mesh.b] {
                try await self.eventually("a tunnel stands ready") {
                    await node.proxy.statistics().idleTunnels == 1
                }
                let handOver = try await node.replace()
                #expect(handOver.given.tunnels == 1 && handOver.taken.tunnels == 1)
                #expect(await node.proxy.statistics().idleTunnels == 1)
            }
            let (a, b) = (await mesh.a.proxy.statistics(), await mesh.b.proxy.statistics())
            #expect(a.handshakesFull + a.handshakesResumed == 0 && b.handshakesFull + b.handshakesResumed == 0)
            try await talk("again \(round)")
            #expect(await mesh.a.proxy.statistics().tunnelsReused == 1)
        }
    }

    @Test func `an established connection goes on and its tunnel is kept behind it`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh { $0.tunnelPool.makesSpare = false }
        try mesh.update()
        let wire = try mesh.dial(app.address)
        try wire.write("before")
        #expect(try await onThread { try wire.read(exactly: 6) } == Array("before".utf8))
        for node in [mesh.a, mesh.b] { try await node.replace() }
        #expect(mesh.a.adopted.count == 1 && mesh.a.adopted[0].bytesSent == 6 && mesh.a.adopted[0].bytesReceived == 6)
        try wire.write("behind")
        #expect(try await onThread { try wire.read(exactly: 6) } == Array("behind".utf8))
        wire.finish()
        #expect(try await onThread { try wire.readToEnd() }.isEmpty)
        let (here, there) = (try await mesh.a.closed(1)[0], try await mesh.b.closed(1)[0])
        #expect(here.bytesSent == 12 && here.bytesReceived == 12 && here.trace == there.trace && here.trace != nil)
        #expect(here.openedAt == mesh.a.opened[0].openedAt && here.id == mesh.a.opened[0].id)
        for node in [mesh.a, mesh.b] {
            try await self.eventually("the tunnel stands ready") { await node.proxy.statistics().idleTunnels == 1 }
        }
    }

    @Test(arguments: Way.allCases)
    func `a policy that denies at the first view closes what was carried`(way: Way) async throws {
        let app = try App.echo()
        let mesh = try self.mesh(way)
        let wire = try mesh.dial(app.address)
        try wire.write("x")
        #expect(try await onThread { try wire.read(exactly: 1) } == [120])
        let node = way == .tunnel ? mesh.b : mesh.a
        try await node.replace()
        try mesh.update(destination: way.destination, policies: [TestMesh.denyAll()])
        #expect(try await node.closed(1)[0].reason == .policyDenied)
        #expect(try await onThread { wire.endingError() } == ECONNRESET)
    }

    @Test func `what nobody claims is closed with its reason`() async throws {
        let app = try App.echo()
        let mesh = try self.mesh(.tunnel)
        let wire = try mesh.dial(app.address)
        try wire.write("x")
        #expect(try await onThread { try wire.read(exactly: 1) } == [120])
        let handOver = try await mesh.a.replace(workloads: [TestMesh.neighbour])
        #expect(handOver.taken.carried == 1 && handOver.closed.closed.values.reduce(0, +) == 1)
        #expect(try await mesh.a.closed(1)[0].reason == .workloadGone)
        #expect(try await onThread { wire.endingError() } == ECONNRESET)
    }

    @Test func `limits count what was carried`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh()
        var limits = WorkloadLimits()
        limits.maxConnections = 1
        let declared = limits
        let change: (inout [Workload], inout [Service], inout [Node]) -> Void = { workloads, _, _ in
            workloads[0].limits = declared
        }
        try mesh.update(change: change)
        let wire = try mesh.dial(app.address)
        try wire.write("x")
        #expect(try await onThread { try wire.read(exactly: 1) } == [120])
        try await mesh.a.replace()
        let second = try mesh.dial(app.address)
        #expect(try await onThread { second.endingError() } == ECONNRESET)
        #expect(try await mesh.a.closed(1)[0].reason == .limitExceeded)
        wire.finish()
        _ = try await onThread { try wire.readToEnd() }
        _ = try await mesh.a.closed(2)
        let third = try mesh.dial(app.address)
        try third.write("y")
        #expect(try await onThread { try third.read(exactly: 1) } == [121])
    }

    @Test func `a data plane that never ran, or hands over in a form that nobody knows, says so`() async throws {
        let proxy = Proxy(
            configuration: ProxyConfiguration(loops: 1, tunnelListener: nil),
            hooks: ProxyHooks(originalDestination: { _ in nil }), logger: Logger(label: "test"))
        #expect(throws: ProxyError.self) { _ = try proxy.freeze() }
        let mesh = try self.mesh(.local)
        #expect(throws: ProxyError.self) { _ = try mesh.a.proxy.freeze(version: 99) }
        // It goes on.
        let app = try App.echo()
        let wire = try mesh.dial(app.address)
        try wire.write("x")
        #expect(try await onThread { try wire.read(exactly: 1) } == [120])
    }

    @Test func `many connections and many hand-overs leave no descriptor behind`() async throws {
        let app = try App.echo()
        let before = self.openDescriptors()
        do {
            let mesh = try self.mesh(.tunnel, loops: 2)
            let wires = try (0..<60).map { _ in try mesh.dial(app.address) }
            for round in 0..<6 {
                let text = "round \(round)"
                for wire in wires { try wire.write(text) }
                try await mesh.a.replace { $0.loops = 1 + round % 3 }
                try await mesh.b.replace { $0.loops = 3 - round % 3 }
                try await onThread {
                    for wire in wires where try wire.read(exactly: text.utf8.count) != Array(text.utf8) {
                        throw ProxyError("wrong echo")
                    }
                }
            }
            for wire in wires { wire.finish() }
            try await onThread {
                for wire in wires where try !wire.readToEnd().isEmpty { throw ProxyError("more than was sent") }
            }
            #expect(try await mesh.a.closed(60).allSatisfy { $0.reason == .completed && $0.bytesSent == 42 })
        }
        try await self.eventually("descriptors are back") { self.openDescriptors() <= before + 1 }
    }
}
