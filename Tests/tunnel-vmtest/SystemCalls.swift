// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import MeshProxy

/// What the loops ask of the kernel while they move bytes, counted by strace(1).
enum SystemCalls {
    static let all: [Main.Scenario] = [
        ("system-calls-kernel", { try await Self.count(.kernel) }),
        ("system-calls-user", { try await Self.count(.user) }),
    ]

    struct Count {
        var calls = 0
        var bytes = 0
    }

    private static let strace = "/usr/bin/strace"

    /// One stream of bulk data through both nodes; with the kernel engine its bytes must not enter this process.
    private static func count(_ engine: ProxyConfiguration.Engine) async throws -> String {
        let size = 16 << 20
        // The first bytes are copied, until the loops know that they come in bulk.
        let warmUp = 1 << 20
        let app = try App { wire in
            try wire.checkPattern(warmUp, isEndWanted: false)
            try wire.write([1])
            try wire.checkPattern(size, isEndWanted: false)
            try wire.write([2])
            _ = try wire.read()
            wire.finish()
        }
        let mesh = try Mesh((engine, engine))
        let wire = try mesh.dial(app.address)
        try wire.writePattern(warmUp)
        try expect(try wire.read() == [1], "no answer")
        let log = "/tmp/strace-\(engine)"
        let tracer = try Self.attach(to: try Self.loops(), log)
        try wire.writePattern(size)
        try expect(try wire.read() == [2], "no answer")
        kill(tracer, SIGTERM)
        var status: CInt = 0
        waitpid(tracer, &status, 0)
        wire.finish()
        _ = try wire.read()
        try mesh.a.expectClosed(.completed, engine: Relays.engine(engine))
        let text = try Self.read(log)
        // T8.
        try expect(!text.contains("SPLICE_F_MORE"), "SPLICE_F_MORE was set")
        let counts = Self.parse(text)
        let copied = ["recvfrom", "recvmsg", "sendto", "sendmsg", "readv", "read", "write", "writev"]
            .map { counts[$0]?.bytes ?? 0 }.reduce(0, +)
        let spliced = counts["splice"]?.bytes ?? 0
        if engine == .kernel {
            // Into a pipe and out of it, on each of two nodes.
            try expect(spliced > 4 * size * 95 / 100, "only \(spliced) bytes were spliced")
            try expect(copied < size / 20, "\(copied) bytes were copied")
        }
        let calls = counts.values.map(\.calls).reduce(0, +)
        let named = counts.sorted { $0.value.calls > $1.value.calls }.prefix(8)
            .map { "\($0.key) \($0.value.calls)" }.joined(separator: ", ")
        return "\(calls * 10 / 16) calls per 10 MiB on both nodes (\(named)); spliced \(spliced), copied \(copied)"
    }

    /// The loops' threads.
    private static func loops() throws -> [Int] {
        guard let directory = opendir("/proc/self/task") else { throw Wrong("no /proc") }
        defer { closedir(directory) }
        var found: [Int] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard let id = Int(name), try Self.read("/proc/self/task/\(id)/comm").hasPrefix("nm-loop") else { continue }
            found.append(id)
        }
        return found
    }

    private static func attach(to threads: [Int], _ log: String) throws -> pid_t {
        var arguments = [Self.strace, "-q", "-s", "0", "-o", log] + threads.flatMap { ["-p", "\($0)"] }
        // Without `-f` only the named threads are traced.
        arguments.append("-e")
        arguments.append("trace=all")
        var child: pid_t = 0
        // Swift's threads block signals, and a child inherits that.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        let code = arguments.withCStrings { posix_spawn(&child, Self.strace, nil, &attributes, $0, environ) }
        if code != 0 { throw Wrong("strace does not start: \(SystemError.text(of: code))") }
        // It is attached once each thread says who traces it.
        for thread in threads {
            for attempt in 0... {
                if try !Self.read("/proc/self/task/\(thread)/status").contains("TracerPid:\t0\n") { break }
                if attempt > 500 { throw Wrong("strace does not attach") }
                usleep(10_000)
            }
        }
        return child
    }

    /// Calls and the sum of their positive results, by name, from lines such as `7 splice(5, NULL, …) = 16384`.
    static func parse(_ log: String) -> [String: Count] {
        var counts: [String: Count] = [:]
        for line in log.split(separator: "\n") {
            let text = line.drop { $0.isNumber || $0 == " " }
            // A call that another interrupted is told twice; the second line has the result.
            if text.hasSuffix("<unfinished ...>") { continue }
            let name: Substring
            if text.hasPrefix("<... ") {
                name = text.dropFirst(5).prefix { $0 != " " }
            } else {
                name = text.prefix { $0 != "(" }
            }
            guard let equals = text.range(of: " = ", .last) else { continue }
            let result = Int(text[equals...].prefix { $0.isNumber }) ?? 0
            counts[String(name), default: Count()].calls += 1
            counts[String(name), default: Count()].bytes += result
        }
        return counts
    }

    private static func read(_ path: String) throws -> String {
        let fd = open(path, O_RDONLY)
        if fd < 0 { throw Wrong("cannot read \(path)") }
        defer { close(fd) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = Glibc.read(fd, &buffer, buffer.count)
            if count <= 0 { return String(decoding: bytes, as: UTF8.self) }
            bytes += buffer.prefix(count)
        }
    }
}

extension [String] {
    fileprivate func withCStrings<T>(_ body: ([UnsafeMutablePointer<CChar>?]) -> T) -> T {
        let strings = self.map { strdup($0) }
        defer { for string in strings { free(string) } }
        return body(strings + [nil])
    }
}

private enum Which { case last }

extension Substring {
    /// Where the text behind the last `mark` begins.
    fileprivate func range(of mark: String, _ which: Which) -> Index? {
        var index = self.endIndex
        while index > self.startIndex {
            index = self.index(before: index)
            if self[index...].hasPrefix(mark) { return self.index(index, offsetBy: mark.count) }
        }
        return nil
    }
}
