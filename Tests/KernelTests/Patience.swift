// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux

/// Removes a cgroup that no process is in any more.
///
/// A thread that ends stays a member until the kernel is done with it, which is after others have seen its end.
func removeCgroup(_ path: String) throws(SystemError) {
    for _ in 0..<500 {
        if rmdir(path) == 0 { return }
        if errno != EBUSY { break }
        usleep(10_000)
    }
    _ = try systemCall("rmdir") { rmdir(path) }
}
