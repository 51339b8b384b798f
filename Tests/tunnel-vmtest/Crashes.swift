// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import Synchronization

/// Tunnels of the kernel's engine whose process is killed: the kernel has all that is needed to go on with those of which
/// no byte was in its memory.
enum Crashes {
    static let all: [Main.Scenario] = [
        ("crash-quiet", { try Self.quiet() }),
        ("crash-bulk", { try Self.bulk() }),
        ("crash-held-up", { try Self.heldUp() }),
        ("crash-half-closed", { try Self.halfClosed() }),
    ]

    private static func echo() throws -> App {
        try App { wire in
            while true {
                let bytes = try wire.read()
                if bytes.isEmpty { break }
                try wire.write(bytes)
            }
            wire.finish()
        }
    }

    private static func exchange(_ wires: [Wire], _ count: Int) throws {
        for wire in wires { try wire.write(Pattern.block[..<count]) }
        for wire in wires { try Pattern.check(try wire.read(exactly: count), at: 0) }
    }

    /// Nothing moves when the process dies: all go on, again and again.
    private static func quiet() throws -> String {
        let app = try Self.echo()
        let mesh = try MortalMesh()
        let wires = try (0..<4).map { _ in try mesh.dial(app.address) }
        try Self.exchange(wires, 300_000)
        for round in 0..<3 {
            try mesh.keep(wires.count)
            let (carried, lost) = try mesh.dieAndGoOn()
            try expect(carried == 2 * wires.count && lost == 0, "round \(round): \(carried) carried, \(lost) lost")
            try Self.exchange(wires, 1)
            try Self.exchange(wires, 300_000)
        }
        for wire in wires { wire.finish() }
        for wire in wires { try expect(try wire.read().isEmpty, "more than was sent") }
        return ""
    }

    /// Everything moves: what goes on is whole, and what does not is reset.
    private static func bulk() throws -> String {
        try withSmallBuffersSync {
            let (count, size) = (4, 8 << 20)
            let app = try App { wire in
                let writer = try Worker { try wire.writePattern(size, random: true) }
                try wire.checkPattern(size, isEndWanted: false)
                try writer.value()
                wire.finish()
                _ = wire.endingError()
            }
            let mesh = try MortalMesh()
            let workers = try (0..<count).map { _ in
                let wire = try mesh.dial(app.address)
                return try Worker {
                    let writer = try Worker {
                        try wire.writePattern(size, random: true)
                        wire.finish()
                    }
                    let read = Result { try wire.checkPattern(size) }
                    return try Self.isWhole([read, Result { try writer.value() }])
                }
            }
            var (carried, lost) = (0, 0)
            for round in 0..<3 {
                if round == 0 { try mesh.keep(count) } else { try mesh.keepWhatThereIs() }
                usleep(.random(in: 0..<30_000))
                let outcome = try mesh.dieAndGoOn()
                carried += outcome.carried
                lost += outcome.lost
            }
            var whole = 0
            for worker in workers { if try worker.value() { whole += 1 } }
            try expect(carried > 0, "nothing was carried")
            return "\(carried) carried, \(lost) lost; \(whole) of \(count) connections whole"
        }
    }

    /// Of a connection that one thread reads and another writes. A reset is told to one of them; the other may take it for
    /// an end.
    private static func isWhole(_ results: [Result<Void, any Error>]) throws -> Bool {
        var failures: [any Error] = []
        for result in results { if case .failure(let error) = result { failures.append(error) } }
        let isReset = failures.contains { [ECONNRESET, EPIPE].contains(($0 as? SystemError)?.errno) }
        if let first = failures.first, !isReset { throw first }
        return failures.isEmpty
    }

    /// A reader that does not read: sockets, pipes and records are full everywhere.
    private static func heldUp() throws -> String {
        let size = 8 << 20
        let gate = Semaphore()
        let app = try App { wire in
            gate.wait()
            try wire.checkPattern(size, isEndWanted: false)
            try wire.write(Array("all".utf8))
            wire.finish()
        }
        let mesh = try MortalMesh()
        let wire = try mesh.dial(app.address)
        let sent = Atomic<Int>(0)
        let writer = try Worker {
            var done = 0
            while done < size {
                let place = done % Pattern.block.count
                let chunk = min(size - done, Pattern.block.count - place, 1 << 16)
                try wire.write(Pattern.block[place..<(place + chunk)])
                done += chunk
                sent.store(done, ordering: .relaxed)
            }
        }
        var last = -1
        for _ in 0..<200 {
            usleep(100_000)
            let now = sent.load(ordering: .relaxed)
            if now == last || now == size { break }
            last = now
        }
        try mesh.keep(1)
        let (carried, lost) = try mesh.dieAndGoOn()
        gate.signal()
        if carried == 2 {
            try writer.value()
            try expect(try wire.read(exactly: 3) == Array("all".utf8), "not all arrived")
        } else {
            // Copied bytes that wait for room are in the process.
            try expect(wire.endingError() != 0, "an orderly end before all had arrived")
            _ = try? writer.value()
        }
        return "\(carried) carried, \(lost) lost, \(last) bytes under way"
    }

    private static func halfClosed() throws -> String {
        let gate = Semaphore()
        let app = try App { wire in
            while try !wire.read().isEmpty {}
            gate.wait()
            try wire.writePattern(1 << 20)
            wire.finish()
        }
        let mesh = try MortalMesh()
        let wire = try mesh.dial(app.address)
        try wire.write(Pattern.block[..<100_000])
        wire.finish()
        for _ in 0..<2 {
            try mesh.keep(1)
            usleep(300_000)
            let (carried, lost) = try mesh.dieAndGoOn()
            try expect(carried == 2, "\(carried) carried, \(lost) lost")
        }
        gate.signal()
        try wire.checkPattern(1 << 20)
        return ""
    }
}

private func withSmallBuffersSync<T>(_ body: () throws -> T) throws -> T {
    try sysctl("net.ipv4.tcp_wmem", "4096 16384 32768")
    defer { try? sysctl("net.ipv4.tcp_wmem", "4096 16384 4194304") }
    return try body()
}
