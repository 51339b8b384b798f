// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// Messages with descriptors in them (`unix(7)`, SCM_RIGHTS).
package enum DescriptorMessage {
    /// The most descriptors of one message.
    package static let capacity = Int(nm_message_descriptors)

    /// Sends one message. The descriptors stay the caller's.
    ///
    /// - Parameter isBlocking: waits while the receiver's queue is full, even on a non-blocking socket's behalf it does
    ///   not: that one says EAGAIN.
    package static func send(
        _ bytes: [UInt8], _ descriptors: [CInt] = [], to socket: CInt, isBlocking: Bool = false
    ) throws(SystemError) {
        _ = try systemCall("sendmsg") {
            bytes.withUnsafeBytes { bytes in
                descriptors.withUnsafeBufferPointer { fds in
                    nm_send_descriptors(
                        socket, bytes.baseAddress, bytes.count, fds.baseAddress, CInt(fds.count), isBlocking ? 1 : 0)
                }
            }
        }
    }

    /// Takes one message; nil: there is none now. No bytes and no descriptors: the other side has closed.
    ///
    /// - Parameter limit: the most bytes of a message; EMSGSIZE for a longer one.
    /// - Returns: the descriptors, close-on-exec, are the caller's.
    package static func receive(
        _ socket: CInt, limit: Int, isBlocking: Bool = false
    ) throws(SystemError) -> (bytes: [UInt8], descriptors: [CInt])? {
        try Self.read(limit: limit) { nm_receive_descriptors(socket, $0, $1, $2, $3, isBlocking ? 1 : 0) }
    }

    /// As ``receive(_:limit:isBlocking:)``, but the message stays in the queue, for who reads there later; the next call
    /// is given the one behind it.
    package static func peek(
        _ socket: CInt, limit: Int
    ) throws(SystemError) -> (bytes: [UInt8], descriptors: [CInt])? {
        try Self.read(limit: limit) { nm_peek_descriptors(socket, $0, $1, $2, $3) }
    }

    /// Has ``peek(_:limit:)`` begin at the front of the queue (SO_PEEK_OFF, `socket(7)`).
    package static func peekAgain(_ socket: CInt) throws(SystemError) {
        _ = try systemCall("setsockopt(SO_PEEK_OFF)") { nm_peek_again(socket) }
    }

    private static func read(
        limit: Int,
        _ call: (UnsafeMutableRawPointer?, Int, UnsafeMutablePointer<CInt>?, UnsafeMutablePointer<CInt>) -> Int
    ) throws(SystemError) -> (bytes: [UInt8], descriptors: [CInt])? {
        var bytes = [UInt8](repeating: 0, count: limit)
        var (fds, count) = ([CInt](repeating: -1, count: Self.capacity), CInt(0))
        let result = try nonBlockingCall("recvmsg") {
            bytes.withUnsafeMutableBytes { bytes in
                fds.withUnsafeMutableBufferPointer { fds in
                    call(bytes.baseAddress, bytes.count, fds.baseAddress, &count)
                }
            }
        }
        guard case .done(let length) = result else { return nil }
        return (Array(bytes[..<length]), Array(fds[..<Int(count)]))
    }

    /// Waits until a descriptor has something to say, its end included.
    ///
    /// - Returns: whether it has, within that many milliseconds.
    package static func wait(_ fd: CInt, milliseconds: Int) throws(SystemError) -> Bool {
        let deadline = Clock.monotonic + UInt64(max(0, milliseconds)) * 1_000_000
        while true {
            let left = deadline.subtractingReportingOverflow(Clock.monotonic)
            let time = left.overflow ? 0 : CInt(clamping: (left.partialValue + 999_999) / 1_000_000)
            var entry = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
            let code = poll(&entry, 1, time)
            if code > 0 { return true }
            if code == 0 { return false }
            let number = errno
            guard number == EINTR else { throw SystemError(call: "poll", errno: number) }
        }
    }
}
