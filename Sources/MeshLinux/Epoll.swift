// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// An epoll set and the buffer its events arrive in. Used by one thread.
package struct Epoll: ~Copyable {
    /// What a descriptor is watched for, and what happened (`EPOLL*`).
    package struct Events: OptionSet, Sendable {
        package let rawValue: UInt32
        package init(rawValue: UInt32) { self.rawValue = rawValue }
        package static let readable = Self(rawValue: 0x001)
        /// TCP urgent data (EPOLLPRI).
        package static let urgent = Self(rawValue: 0x002)
        package static let writable = Self(rawValue: 0x004)
        package static let error = Self(rawValue: 0x008)
        package static let hangUp = Self(rawValue: 0x010)
        package static let readHangUp = Self(rawValue: 0x2000)
        package static let edgeTriggered = Self(rawValue: 1 << 31)
        /// Everything a relay wants to know, registered once.
        package static let stream: Self = [.readable, .urgent, .writable, .readHangUp, .edgeTriggered]
    }

    private let descriptor: FileDescriptor
    private let buffer: UnsafeMutableBufferPointer<epoll_event>

    /// - Parameter capacity: events taken per ``wait(milliseconds:)``.
    package init(capacity: Int) throws(SystemError) {
        self.descriptor = FileDescriptor(owning: try systemCall("epoll_create1") { nm_epoll_create() })
        self.buffer = .allocate(capacity: capacity)
        self.buffer.initialize(repeating: epoll_event())
    }

    deinit { self.buffer.deallocate() }

    /// Watches `fd`; `data` comes back with each event. A closed descriptor leaves the set by itself.
    package borrowing func add(_ fd: CInt, _ events: Events, data: UInt64) throws(SystemError) {
        let epoll = self.descriptor.raw
        _ = try systemCall("epoll_ctl") { nm_epoll_control(epoll, EPOLL_CTL_ADD, fd, events.rawValue, data) }
    }

    /// Changes what `fd` is watched for.
    package borrowing func modify(_ fd: CInt, _ events: Events, data: UInt64) throws(SystemError) {
        let epoll = self.descriptor.raw
        _ = try systemCall("epoll_ctl") { nm_epoll_control(epoll, EPOLL_CTL_MOD, fd, events.rawValue, data) }
    }

    /// Stops watching `fd`.
    package borrowing func remove(_ fd: CInt) throws(SystemError) {
        let epoll = self.descriptor.raw
        _ = try systemCall("epoll_ctl") { nm_epoll_control(epoll, EPOLL_CTL_DEL, fd, 0, 0) }
    }

    /// Waits for events, -1 for ever; the count that ``event(_:)`` can then be asked for.
    package borrowing func wait(milliseconds: CInt) throws(SystemError) -> Int {
        let (epoll, buffer) = (self.descriptor.raw, self.buffer)
        do throws(SystemError) {
            return Int(
                try systemCall("epoll_wait") {
                    epoll_wait(epoll, buffer.baseAddress, CInt(buffer.count), milliseconds)
                })
        } catch {
            throw error
        }
    }

    @inline(__always)
    package borrowing func event(_ index: Int) -> (events: Events, data: UInt64) {
        let event = self.buffer[index]
        return (Events(rawValue: event.events), event.data.u64)
    }
}
