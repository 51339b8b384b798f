// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// A counting semaphore on which a thread of its own may sleep (`sem_overview(7)`). Never to be waited for on a loop or on
/// one of Swift's shared threads.
package final class Semaphore: @unchecked Sendable {
    // The C library's object does its own synchronisation; it must not move.
    private let raw: UnsafeMutablePointer<sem_t>

    package init() {
        self.raw = .allocate(capacity: 1)
        self.raw.initialize(to: sem_t())
        sem_init(self.raw, 0, 0)
    }

    deinit {
        sem_destroy(self.raw)
        self.raw.deallocate()
    }

    package func signal() { sem_post(self.raw) }

    package func wait() { while sem_wait(self.raw) != 0 && errno == EINTR {} }
}
