// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// A short-lived program, run without a shell: no word of its arguments means anything but itself.
package enum ChildProcess {
    package struct Result: Sendable, Equatable {
        /// Its exit code, or less than zero: -1 less the signal that ended it.
        package let code: Int32
        package let output: String

        package init(code: Int32, output: String) { (self.code, self.output) = (code, output) }
    }

    /// What a program may write; more ends it.
    private static let outputLimit = 1 << 20

    /// Runs a program to its end. Blocks the calling thread, for ``timeout`` at most, after which it is killed.
    ///
    /// - Parameters:
    ///   - path: absolute.
    ///   - arguments: without the program's own name.
    ///   - isQuiet: what it writes to standard error is dropped; otherwise it goes where this process's does.
    ///   - timeout: in milliseconds.
    /// - Throws: ENOENT when there is no such program, ETIMEDOUT when it had to be killed, EFBIG when it wrote too much.
    package static func run(
        _ path: String, _ arguments: [String], environment: [String] = [], isQuiet: Bool = true, timeout: Int
    ) throws(SystemError) -> Result {
        var ends: [CInt] = [-1, -1]
        _ = try systemCall("pipe2") { ends.withUnsafeMutableBufferPointer { nm_pipe2($0.baseAddress) } }
        let reader = FileDescriptor(owning: ends[0])
        let pid = try Self.spawn(
            path, arguments, environment, output: FileDescriptor(owning: ends[1]), isQuiet: isQuiet)
        var (bytes, buffer, isKilled) = ([UInt8](), [UInt8](repeating: 0, count: 16_384), false)
        var failure: CInt?
        let deadline = Clock.monotonic + UInt64(max(timeout, 1)) * 1_000_000
        func kill(_ code: CInt) {
            if !isKilled { _ = Glibc.kill(pid, SIGKILL) }
            (isKilled, failure) = (true, failure ?? code)
        }
        while true {
            var status: CInt = 0
            let hasEnded = nm_wait(pid, &status) != 0
            while let count = try? Self.read(reader, &buffer), count > 0 {
                bytes += buffer[..<count]
                if bytes.count > Self.outputLimit { kill(EFBIG) }
            }
            if hasEnded {
                if let failure { throw SystemError(call: "posix_spawn", errno: failure) }
                return Result(code: nm_exit_code(status), output: String(decoding: bytes, as: UTF8.self))
            }
            if Clock.monotonic > deadline { kill(ETIMEDOUT) }
            // The end of output wakes this; a program that closes it early is looked at each millisecond.
            var waiting = pollfd(fd: reader.raw, events: Int16(POLLIN), revents: 0)
            _ = poll(&waiting, 1, 5)
            if waiting.revents & Int16(POLLHUP) != 0 { usleep(1000) }
        }
    }

    private static func spawn(
        _ path: String, _ arguments: [String], _ environment: [String], output: consuming FileDescriptor, isQuiet: Bool
    ) throws(SystemError) -> Int32 {
        let raw = output.raw
        return try Self.withVector([path] + arguments) { argumentVector throws(SystemError) in
            try Self.withVector(environment) { environmentVector throws(SystemError) in
                try systemCall("posix_spawn") {
                    nm_spawn(path, argumentVector, environmentVector, raw, isQuiet ? 1 : 0)
                }
            }
        }
    }

    private static func withVector<T>(
        _ words: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) throws(SystemError) -> T
    ) throws(SystemError) -> T {
        var copies: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
        defer { for copy in copies { free(copy) } }
        guard !copies.contains(where: { $0 == nil }) else { throw SystemError(call: "strdup", errno: ENOMEM) }
        copies.append(nil)
        let vector = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.allocate(capacity: copies.count)
        defer { vector.deallocate() }
        vector.initialize(from: copies, count: copies.count)
        return try body(UnsafePointer(vector))
    }

    private static func read(_ reader: borrowing FileDescriptor, _ buffer: inout [UInt8]) throws(SystemError) -> Int {
        let raw = reader.raw
        switch try nonBlockingCall(
            "read", { buffer.withUnsafeMutableBytes { Glibc.read(raw, $0.baseAddress, $0.count) } })
        {
        case .done(let count): return count
        case .wouldBlock: return 0
        }
    }
}
