// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// A non-blocking pipe.
package struct Pipe: ~Copyable, Sendable {
    package let readEnd: FileDescriptor
    package let writeEnd: FileDescriptor
    /// Bytes it can hold.
    package let capacity: Int

    /// A pipe of about `capacity` bytes; less when the system does not grant as much.
    package init(capacity: Int) throws(SystemError) {
        var fds: [CInt] = [-1, -1]
        _ = try systemCall("pipe2") { fds.withUnsafeMutableBufferPointer { nm_pipe2($0.baseAddress) } }
        self.readEnd = FileDescriptor(owning: fds[0])
        self.writeEnd = FileDescriptor(owning: fds[1])
        // Refused above the user's soft limit. What the pipe has then is for the kernel to say: it may be 16 pages or 2.
        _ = nm_set_pipe_size(fds[1], CInt(clamping: capacity))
        self.capacity = Int(max(0, nm_pipe_size(fds[1])))
    }

    /// Gives both descriptors away; the caller now has to close them.
    package consuming func release() -> (read: CInt, write: CInt) {
        (self.readEnd.release(), self.writeEnd.release())
    }
}
