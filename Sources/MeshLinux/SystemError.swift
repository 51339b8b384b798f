// SPDX-License-Identifier: Apache-2.0
import Glibc

/// A failed system call: which call, and its `errno`.
package struct SystemError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The call as in its manual page.
    package let call: StaticString
    package let errno: CInt

    package init(call: StaticString, errno: CInt) {
        self.call = call
        self.errno = errno
    }

    package static func == (left: Self, right: Self) -> Bool {
        left.errno == right.errno && left.call.description == right.call.description
    }

    /// Such as `connect: Connection refused (ECONNREFUSED)`.
    package var description: String { "\(self.call): \(Self.text(of: self.errno))" }

    /// The C library's words for an `errno`, with its symbolic name when it is one a socket commonly gives.
    package static func text(of code: CInt) -> String {
        let words = String(cString: strerror(code))
        guard let name = Self.names[code] else { return "\(words) (errno \(code))" }
        return "\(words) (\(name))"
    }

    private static let names: [CInt: String] = [
        EPERM: "EPERM", ENOENT: "ENOENT", EINTR: "EINTR", EIO: "EIO", EBADF: "EBADF", EAGAIN: "EAGAIN",
        ENOMEM: "ENOMEM", EACCES: "EACCES", EEXIST: "EEXIST", EINVAL: "EINVAL", ENFILE: "ENFILE", EMFILE: "EMFILE",
        EPIPE: "EPIPE", EADDRINUSE: "EADDRINUSE", EADDRNOTAVAIL: "EADDRNOTAVAIL", ENETDOWN: "ENETDOWN",
        ENETUNREACH: "ENETUNREACH", ECONNABORTED: "ECONNABORTED", ECONNRESET: "ECONNRESET", ENOBUFS: "ENOBUFS",
        ENOTCONN: "ENOTCONN", ETIMEDOUT: "ETIMEDOUT", ECONNREFUSED: "ECONNREFUSED", EHOSTDOWN: "EHOSTDOWN",
        EHOSTUNREACH: "EHOSTUNREACH", EINPROGRESS: "EINPROGRESS", ENODEV: "ENODEV", ENOSYS: "ENOSYS",
    ]
}

/// What a call that may block says instead of blocking.
package enum IOResult<T: Sendable>: Sendable {
    case done(T)
    /// EAGAIN: nothing now; epoll will tell.
    case wouldBlock
}

extension IOResult: Equatable where T: Equatable {}

/// Runs `body`, repeats it on EINTR, and reads `errno` before Swift can release anything.
@inline(__always)
package func systemCall<T: FixedWidthInteger & SignedInteger>(
    _ name: StaticString, _ body: () -> T
) throws(SystemError) -> T {
    while true {
        let result = body()
        if result != -1 { return result }
        let code = errno
        if code != EINTR { throw SystemError(call: name, errno: code) }
    }
}

/// As ``systemCall(_:_:)``, with EAGAIN as an answer.
@inline(__always)
package func nonBlockingCall<T: FixedWidthInteger & SignedInteger & Sendable>(
    _ name: StaticString, _ body: () -> T
) throws(SystemError) -> IOResult<T> {
    while true {
        let result = body()
        if result != -1 { return .done(result) }
        let code = errno
        switch code {
        case EINTR: continue
        case EAGAIN: return .wouldBlock
        default: throw SystemError(call: name, errno: code)
        }
    }
}
