// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// What is asked of descriptors that several processes have.
extension Linux {
    /// Bytes that wait in a pipe or a socket; nil when the descriptor is neither.
    package static func unreadBytes(_ fd: CInt) -> Int? {
        let count = nm_unread_bytes(fd)
        return count < 0 ? nil : Int(count)
    }

    /// Bytes that a pipe can hold.
    package static func pipeCapacity(_ fd: CInt) -> Int { Int(max(0, nm_pipe_size(fd))) }

    package static func isListening(_ fd: CInt) -> Bool { nm_is_listening(fd) == 1 }

    /// A second descriptor of the same open file; the caller owns it.
    package static func duplicate(_ fd: CInt) throws(SystemError) -> CInt {
        try systemCall("fcntl(F_DUPFD_CLOEXEC)") { nm_duplicate(fd) }
    }

    /// Ends a TCP connection for everybody who has the socket, and closes this descriptor of it: with FIN, or with RST.
    /// A kernel-TLS socket cannot be disconnected; its peer gets a FIN without close_notify instead of an RST.
    package static func sever(_ fd: CInt, isOrderly: Bool) {
        _ = nm_set_reset_on_close(fd, isOrderly ? 0 : 1)
        if !isOrderly {
            if nm_disconnect(fd) == 0 {
                _ = Glibc.close(fd)
                return
            }
        }
        _ = Glibc.shutdown(fd, CInt(SHUT_RDWR))
        _ = Glibc.close(fd)
    }

    /// What passed a TCP socket, as TCP itself counts it; FIN is not counted. Only differences have a meaning.
    package struct StreamCounts: Equatable, Sendable {
        /// Bytes that were taken out of the socket, and bytes that were given to it.
        package var read: UInt64
        package var written: UInt64
        /// FIN was given to TCP.
        package var isEndSent: Bool
        package var isOpen: Bool

        package init(read: UInt64, written: UInt64, isEndSent: Bool = false, isOpen: Bool = true) {
            self.read = read
            self.written = written
            self.isEndSent = isEndSent
            self.isOpen = isOpen
        }
    }

    /// Exact, for a socket that nobody reads from or writes to meanwhile.
    ///
    /// - Throws: EAGAIN when bytes come and go too fast to tell, or urgent data waits.
    package static func streamCounts(_ fd: CInt) throws(SystemError) -> StreamCounts {
        var counts = nm_stream_counts()
        _ = try systemCall("getsockopt(TCP_INFO)") { nm_stream_counts(fd, &counts) }
        return StreamCounts(
            read: counts.read, written: counts.written, isEndSent: counts.end_sent != 0, isOpen: counts.is_open != 0)
    }
}
