// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

extension Linux {
    /// Up to `count` bytes of a socket; 0 means end of stream.
    @inline(__always)
    package static func receive(
        _ fd: CInt, _ buffer: UnsafeMutableRawPointer, _ count: Int
    ) throws(SystemError) -> IOResult<Int> {
        try nonBlockingCall("recv") { nm_recv(fd, buffer, count) }
    }

    /// As ``receive(_:_:_:)``, leaving the bytes in the socket.
    package static func peek(
        _ fd: CInt, _ buffer: UnsafeMutableRawPointer, _ count: Int
    ) throws(SystemError) -> IOResult<Int> {
        try nonBlockingCall("recv") { nm_recv_peek(fd, buffer, count) }
    }

    /// Drops up to `count` bytes that wait in a TCP socket.
    package static func discard(_ fd: CInt, _ count: Int) throws(SystemError) -> IOResult<Int> {
        try nonBlockingCall("recv") { nm_recv_discard(fd, count) }
    }

    /// The bytes taken by the socket, which may be fewer. Never raises SIGPIPE.
    @inline(__always)
    package static func send(
        _ fd: CInt, _ buffer: UnsafeRawPointer, _ count: Int
    ) throws(SystemError) -> IOResult<Int> {
        try nonBlockingCall("send") { nm_send(fd, buffer, count) }
    }

    /// As ``send(_:_:_:)`` from several ranges (at most IOV_MAX).
    @inline(__always)
    package static func send(
        _ fd: CInt, vector: UnsafePointer<iovec>, count: Int
    ) throws(SystemError) -> IOResult<Int> {
        try nonBlockingCall("sendmsg") { nm_send_vector(fd, vector, CInt(truncatingIfNeeded: count)) }
    }

    /// Reads into several ranges (at most IOV_MAX); 0 means end of stream.
    @inline(__always)
    package static func read(
        _ fd: CInt, vector: UnsafePointer<iovec>, count: Int
    ) throws(SystemError) -> IOResult<Int> {
        try nonBlockingCall("readv") { nm_read_vector(fd, vector, CInt(truncatingIfNeeded: count)) }
    }

    /// Writes from several ranges (at most IOV_MAX) to something that is no socket.
    package static func write(
        _ fd: CInt, vector: UnsafePointer<iovec>, count: Int
    ) throws(SystemError) -> IOResult<Int> {
        try nonBlockingCall("writev") { Glibc.writev(fd, vector, CInt(truncatingIfNeeded: count)) }
    }

    /// Moves up to `count` bytes inside the kernel (`splice(2)`); one end must be a pipe.
    ///
    /// `.wouldBlock` says either "source empty" or "pipe full": the caller counts the pipe's bytes to tell which.
    @inline(__always)
    package static func splice(from source: CInt, to destination: CInt, _ count: Int) throws(SystemError) -> IOResult<
        Int
    > {
        try nonBlockingCall("splice") { nm_splice(source, destination, count) }
    }
}
