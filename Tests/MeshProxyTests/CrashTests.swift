// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import Synchronization
import Testing

@testable import MeshProxy

/// A data plane ends without a word under traffic, in this process: relays of which every byte is in the kernel go on
/// from the copies, the others are reset. None ends as if all had arrived when it has not.
@Suite(.serialized) struct CrashTests {
    private func mesh(
        _ way: Way = .local, loops: Int = 1, _ change: (inout ProxyConfiguration) -> Void = { _ in }
    ) throws -> TestMesh {
        let mesh = try TestMesh(loops: loops) {
            $0.keepAge = .zero
            change(&$0)
        }
        try mesh.update(destination: way.destination)
        return mesh
    }

    private func exchange(_ wires: [Wire], _ text: String) throws {
        for wire in wires { try wire.write(text) }
        for wire in wires where try wire.read(exactly: text.utf8.count) != Array(text.utf8) {
            throw ProxyError("wrong echo")
        }
    }

    @Test func `relays go on, crash after crash`() async throws {
        let app = try App.echo()
        let mesh = try self.mesh(loops: 2)
        let wires = try await onThread { try (0..<12).map { _ in try mesh.dial(app.address) } }
        try await onThread { try self.exchange(wires, "first") }
        #expect(await mesh.a.proxy.hasOthersToKeep())
        for round in 1...3 {
            let handOver = try await mesh.a.replace(isCrash: true, change: { $0.loops = round }) {
                for wire in wires { try wire.write("while there is nobody") }
            }
            #expect(handOver.given.carried == 12 && handOver.taken.carried == 12 && handOver.taken.closed.isEmpty)
            #expect(mesh.a.adopted.allSatisfy { $0.bytesSent == $0.bytesReceived && $0.bytesSent > 0 })
            try await onThread {
                for wire in wires where try wire.read(exactly: 21).count != 21 { throw ProxyError("no echo") }
                try self.exchange(wires, "round \(round)")
            }
        }
        for wire in wires { wire.finish() }
        try await onThread { for wire in wires { _ = try wire.readToEnd() } }
        let records = try await mesh.a.closed(12)
        let bytes = UInt64(5 + 3 * (21 + 7))
        #expect(records.allSatisfy { $0.reason == .completed && $0.bytesSent == bytes && $0.bytesReceived == bytes })
    }

    @Test func `nothing is looked at twice`() async throws {
        let app = try App.echo()
        let mesh = try self.mesh()
        #expect(await mesh.a.proxy.hasOthersToKeep() == false)
        let wire = try mesh.dial(app.address)
        try await onThread { try self.exchange([wire], "hello") }
        #expect(await mesh.a.proxy.hasOthersToKeep())
        #expect(await mesh.a.proxy.keptState(limit: 10).state.state.summary.carried == 1)
        #expect(await mesh.a.proxy.hasOthersToKeep() == false)
        wire.finish()
        _ = try await onThread { try wire.readToEnd() }
        _ = try await mesh.a.closed(1)
        #expect(await mesh.a.proxy.hasOthersToKeep())
        #expect(await mesh.a.proxy.keptState(limit: 10).state.state.summary.carried == 0)
        #expect(await mesh.a.proxy.hasOthersToKeep() == false)
    }

    @Test func `young ones, and those beyond the limit, are left`() async throws {
        let app = try App.echo()
        let mesh = try self.mesh { $0.keepAge = .seconds(3600) }
        let wires = try await onThread { try (0..<3).map { _ in try mesh.dial(app.address) } }
        try await onThread { try self.exchange(wires, "hello") }
        #expect(await mesh.a.proxy.hasOthersToKeep() == false)
        let other = try self.mesh()
        let more = try await onThread { try (0..<3).map { _ in try other.dial(app.address) } }
        try await onThread { try self.exchange(more, "hello") }
        let (kept, left) = await other.a.proxy.keptState(limit: 2)
        #expect(kept.state.summary.carried == 2 && left == 1)
    }

    @Test func `bytes that a reader keeps waiting arrive`() async throws {
        let size = 32 << 20
        let (gate, begin) = (Semaphore(), Semaphore())
        let app = try App { wire in
            gate.wait()
            try wire.write("\(try wire.readPattern(size))")
            wire.finish()
        }
        let mesh = try self.mesh()
        let wire = try mesh.dial(app.address)
        let answer = Task {
            try await onThread {
                begin.wait()
                try wire.writePattern(size)
                wire.finish()
                return String(decoding: try wire.readToEnd(), as: UTF8.self)
            }
        }
        try await mesh.a.waitUntilOpened(1)
        // From here on it is kept: what was copied and finds no room goes into a pipe.
        #expect(await mesh.a.proxy.keptState(limit: 10).state.state.summary.carried == 1)
        begin.signal()
        for round in 0..<3 {
            // Until nothing moves any more: all buffers on the way are full.
            var (last, same) = (UInt64(0), 0)
            for _ in 0..<600 where same < 5 {
                try await Task.sleep(for: .milliseconds(50))
                let now = await mesh.a.proxy.connections().first?.bytesSent ?? 0
                same = now > 0 && now == last ? same + 1 : 0
                last = now
            }
            let handOver = try await mesh.a.replace(isCrash: true)
            #expect(handOver.taken.carried == 1 && handOver.taken.closed.isEmpty, "round \(round)")
        }
        gate.signal()
        #expect(try await answer.value == "\(size)")
        #expect(try await mesh.a.closed(1)[0].bytesSent == UInt64(size))
    }

    /// Small buffers and readers that stop make it likely that bytes are in the process's memory.
    @Test func `what is not whole is reset`() async throws {
        let (size, count) = (16 << 20, 8)
        let app = try App { wire in
            let right = try wire.readPattern(size, pause: 100)
            // An orderly end before all has arrived is the one thing that must not be.
            if right != size { throw ProxyError("only \(right)") }
            try wire.write("all")
            wire.finish()
        }
        let mesh = try self.mesh(loops: 2) { $0.lentPipesPerLoop = 2 }
        let ended = Semaphore()
        let outcomes = Mutex<(whole: Int, reset: Int, other: [String])>((0, 0, []))
        for _ in 0..<count {
            let wire = try mesh.dial(app.address)
            let thread = try OSThread(name: "writer") {
                do {
                    try wire.writePattern(size)
                    wire.finish()
                    let end = String(decoding: try wire.readToEnd(), as: UTF8.self)
                    outcomes.withLock { if end == "all" { $0.whole += 1 } else { $0.other.append("end: \(end)") } }
                } catch let error as SystemError where [ECONNRESET, EPIPE].contains(error.errno) {
                    outcomes.withLock { $0.reset += 1 }
                } catch { outcomes.withLock { $0.other.append("\(error)") } }
                ended.signal()
            }
            thread.detach()
        }
        try await mesh.a.waitUntilOpened(count)
        var (kept, carried, closed) = (0, 0, 0)
        for _ in 0..<6 {
            try await Task.sleep(for: .milliseconds(10))
            let handOver = try await mesh.a.replace(isCrash: true)
            kept += handOver.given.carried
            carried += handOver.taken.carried
            closed += handOver.taken.closed.values.reduce(0, +)
        }
        try await onThread { for _ in 0..<count { ended.wait() } }
        let found = outcomes.withLock { $0 }
        #expect(found.other.isEmpty, "\(found.other)")
        #expect(found.whole + found.reset == count)
        #expect(kept == carried + closed)
    }

    @Test func `half-closed ones stay so`() async throws {
        let gate = Semaphore()
        let app = try App { wire in
            let request = try wire.readToEnd()
            gate.wait()
            try wire.write("got \(request.count)")
            wire.finish()
        }
        let mesh = try self.mesh()
        let wire = try mesh.dial(app.address)
        try wire.write("request")
        wire.finish()
        try await mesh.a.waitUntilOpened(1)
        var half = false
        for _ in 0..<1000 where !half {
            half = await mesh.a.proxy.connections().first?.bytesSent == 7
            try await Task.sleep(for: .milliseconds(5))
        }
        for _ in 0..<2 { #expect(try await mesh.a.replace(isCrash: true).taken.carried == 1) }
        gate.signal()
        #expect(try await onThread { try wire.readToEnd() } == Array("got 7".utf8))
        #expect(try await mesh.a.closed(1)[0].reason == .completed)
    }

    @Test func `closing a kept connection ends it although copies are left`() async throws {
        let app = try App { wire in
            _ = wire.endingError()
        }
        let mesh = try self.mesh()
        let wire = try mesh.dial(app.address)
        try await mesh.a.waitUntilOpened(1)
        let kept = await mesh.a.proxy.keptState(limit: 10).state
        #expect(kept.state.summary.carried == 1)
        mesh.a.proxy.stop()
        #expect(try await onThread { wire.endingError() } == ECONNRESET)
        withExtendedLifetime(kept) {}
    }

    @Test func `copies are out of date once the data plane was handed over`() async throws {
        let app = try App.echo()
        let mesh = try self.mesh()
        let wire = try mesh.dial(app.address)
        try await onThread { try self.exchange([wire], "hello") }
        let kept = await mesh.a.proxy.keptState(limit: 10).state
        try await mesh.a.replace()
        var summary = HandOverSummary()
        let copies = kept.state.descriptors.map { fcntl($0, F_DUPFD_CLOEXEC, 0) }
        let state = kept.state.withUnsafeBytes { ProxyState(bytes: $0, descriptors: copies) }
        let found = CarriedState(state, &summary)
        #expect(found.connections.isEmpty && summary.carried == 0)
        #expect(summary.closed.values.reduce(0, +) == 1)
    }

    @Test func `listeners are kept while workloads are attached again`() async throws {
        let mesh = try self.mesh()
        let all = await mesh.a.proxy.keptState(limit: 0).state.state.summary.listeners
        for round in 0..<20 {
            let old = mesh.a.proxy
            let sampler = Task {
                var least = Int.max
                while !Task.isCancelled {
                    let proxy = mesh.a.proxy
                    if proxy !== old {
                        least = min(least, await proxy.keptState(limit: 0).state.state.summary.listeners)
                    }
                    await Task.yield()
                }
                return least
            }
            try await mesh.a.replace()
            sampler.cancel()
            #expect(await sampler.value >= all, "round \(round)")
        }
    }

    @Test func `tunnels of the user-space engine are not kept`() async throws {
        let app = try App.echo()
        let mesh = try self.mesh(.tunnel)
        let wire = try mesh.dial(app.address)
        try await onThread { try self.exchange([wire], "hello") }
        let (kept, left) = await mesh.a.proxy.keptState(limit: 10)
        #expect(kept.state.summary.carried == 0 && left == 0)
        #expect(try await mesh.a.replace(isCrash: true).taken.carried == 0)
        // Not an orderly end, which could be taken for the end of what the other side has to say.
        #expect(try await onThread { wire.endingError() } == ECONNRESET)
    }
}
