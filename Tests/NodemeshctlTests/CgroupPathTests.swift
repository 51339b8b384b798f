// SPDX-License-Identifier: Apache-2.0

import MeshCLI
import Testing

struct CgroupPathTests {
    @Test func findsTheUnifiedMount() {
        let pure = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
        let hybrid = """
            31 30 0:27 / /sys/fs/cgroup rw - tmpfs tmpfs rw
            32 31 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
            33 31 0:29 /sub /mnt/part rw - cgroup2 cgroup2 rw
            34 31 0:29 / /sys/fs/my\\040cgroup rw - cgroup2 cgroup2 rw
            """
        #expect(CgroupPath.mountPoint(mountInfo: pure) == "/sys/fs/cgroup")
        #expect(CgroupPath.mountPoint(mountInfo: hybrid) == "/sys/fs/my cgroup")
    }

    @Test(arguments: ["", "\n", "garbage", "1 2 3 - cgroup2", "- cgroup2 x", "a b c d e f - ext4 x rw"])
    func findsNoMountInOtherText(text: String) { #expect(CgroupPath.mountPoint(mountInfo: text) == nil) }

    @Test func findsTheUnifiedPathOfAProcess() {
        #expect(
            CgroupPath.unifiedPath(processCgroup: "4:memory:/x\n0::/system.slice/a.service\n")
                == "/system.slice/a.service")
        #expect(CgroupPath.unifiedPath(processCgroup: "4:memory:/x\n") == nil)
        #expect(CgroupPath.unifiedPath(processCgroup: "") == nil)
    }
}
