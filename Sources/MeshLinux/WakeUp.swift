// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// An eventfd by which any thread wakes one that waits in epoll.
package struct WakeUp: ~Copyable, Sendable {
    private let descriptor: FileDescriptor

    package init() throws(SystemError) {
        self.descriptor = FileDescriptor(owning: try systemCall("eventfd") { nm_eventfd() })
    }

    /// For epoll.
    package var raw: CInt { self.descriptor.raw }

    /// Wakes the waiter; many signals may be seen as one.
    package borrowing func signal() {
        var one: UInt64 = 1
        // EAGAIN means that 2^64-2 signals are already waiting: the waiter will wake.
        _ = Glibc.write(self.descriptor.raw, &one, 8)
    }

    /// Takes all signals.
    package borrowing func clear() {
        var count: UInt64 = 0
        _ = Glibc.read(self.descriptor.raw, &count, 8)
    }
}
