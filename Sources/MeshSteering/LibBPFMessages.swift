// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import Glibc
import Synchronization

/// What libbpf and the verifier have to say, kept for error messages instead of going to stderr.
///
/// libbpf has one print function per process. Two loads at the same time would mix their lines, nothing worse.
enum LibBPFMessages {
    private static let limit = 4_096
    private static let text = Mutex("")
    private static let isInstalled = Mutex(false)

    /// Forgets earlier lines.
    static func begin() {
        Self.isInstalled.withLock { isInstalled in
            if !isInstalled { libbpf_set_print(keepLibBPFMessage) }
            isInstalled = true
        }
        Self.text.withLock { $0 = "" }
    }

    /// The last lines, at most four kilobytes.
    static func end() -> String {
        Self.text.withLock { text in
            defer { text = "" }
            return text
        }
    }

    static func append(_ line: String) {
        Self.text.withLock { text in
            text += line
            if text.utf8.count > Self.limit { text = String(text.suffix(Self.limit)) }
        }
    }
}

private func keepLibBPFMessage(
    level: libbpf_print_level, format: UnsafePointer<CChar>?, arguments: CVaListPointer?
) -> CInt {
    guard level.rawValue <= LIBBPF_WARN.rawValue, let format, let arguments else { return 0 }
    // The verifier log comes as one message; its end is what matters.
    var buffer = [CChar](repeating: 0, count: 262_144)
    let count = vsnprintf(&buffer, buffer.count, format, arguments)
    let length = max(0, min(Int(count), buffer.count - 1))
    LibBPFMessages.append(String(decoding: buffer[..<length].map(UInt8.init(bitPattern:)), as: UTF8.self))
    return 0
}
