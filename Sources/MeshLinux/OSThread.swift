// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// A POSIX thread with a body of its own: for what must not run on Swift's shared threads, such as waiting in epoll or
/// changing the thread's network namespace.
package struct OSThread: ~Copyable, Sendable {
    private let handle: pthread_t

    private final class Start: Sendable {
        let name: String
        let body: @Sendable () -> Void
        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }

    /// Starts the thread.
    ///
    /// - Parameter name: as in `ps`; the kernel keeps 15 bytes.
    package init(name: String, body: @escaping @Sendable () -> Void) throws(SystemError) {
        let start = Unmanaged.passRetained(Start(name: name, body: body))
        var handle = pthread_t()
        let code = pthread_create(
            &handle, nil,
            { @Sendable argument in
                guard let argument else { return nil }
                let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                _ = nm_set_thread_name(start.name)
                start.body()
                return nil
            }, start.toOpaque())
        if code != 0 {
            start.release()
            throw SystemError(call: "pthread_create", errno: code)
        }
        self.handle = handle
    }

    /// Waits until the body has returned.
    package consuming func join() { pthread_join(self.handle, nil) }

    /// Lets it run by itself; what it needs at its end it holds itself.
    package consuming func detach() { pthread_detach(self.handle) }
}
