// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// What is asked of descriptors that another process has given.
extension Linux {
    /// Bytes that wait in a pipe or a socket; nil when the descriptor is neither.
    package static func unreadBytes(_ fd: CInt) -> Int? {
        let count = nm_unread_bytes(fd)
        return count < 0 ? nil : Int(count)
    }

    /// Bytes that a pipe can hold.
    package static func pipeCapacity(_ fd: CInt) -> Int { Int(max(0, nm_pipe_size(fd))) }

    package static func isListening(_ fd: CInt) -> Bool { nm_is_listening(fd) == 1 }
}
