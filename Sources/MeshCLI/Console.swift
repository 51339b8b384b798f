// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc

/// Where the program's text goes: data to standard output, everything else to standard error.
package protocol Console: Sendable {
    /// Writes `text` to standard output.
    func write(_ text: String) throws(CLIError)
    /// Writes `text` to standard error. There is nobody to tell when that fails.
    func writeError(_ text: String)
    /// Reads standard input to its end, at most `limit` bytes.
    func readInput(limit: Int) throws(CLIError) -> Data
    /// Standard output is a terminal.
    var isTerminal: Bool { get }
    /// Of that terminal, at present; nil when it does not say.
    var size: (rows: Int, columns: Int)? { get }
}

/// The process's own three streams.
package struct StandardConsole: Console {
    package init() {}

    package var isTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

    package var size: (rows: Int, columns: Int)? {
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_row > 0, size.ws_col > 0 else { return nil }
        return (Int(size.ws_row), Int(size.ws_col))
    }

    package func write(_ text: String) throws(CLIError) {
        let code = Self.writeAll(text, to: STDOUT_FILENO)
        // A reader that went away (`| head`) has what it wanted.
        if code != 0, code != EPIPE {
            throw CLIError("cannot write to standard output: \(String(cString: strerror(code)))")
        }
    }

    package func writeError(_ text: String) { _ = Self.writeAll(text, to: STDERR_FILENO) }

    package func readInput(limit: Int) throws(CLIError) -> Data {
        do {
            let data = try FileHandle.standardInput.read(upToCount: limit + 1) ?? Data()
            if data.count <= limit { return data }
        } catch {
            throw CLIError("cannot read standard input: \(error.localizedDescription)")
        }
        throw CLIError("standard input is larger than \(Human.bytes(UInt64(limit)))", hints: ["Apply it in parts."])
    }

    /// Returns 0, or the `errno` that stopped it.
    private static func writeAll(_ text: String, to descriptor: CInt) -> CInt {
        var text = text
        return text.withUTF8 { bytes in
            var rest = Slice(base: UnsafeRawBufferPointer(bytes), bounds: 0..<bytes.count)
            while !rest.isEmpty {
                let count = Glibc.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                let code = errno
                if count > 0 {
                    rest = rest.dropFirst(count)
                } else if count < 0, code != EINTR {
                    return code
                }
            }
            return 0
        }
    }
}
