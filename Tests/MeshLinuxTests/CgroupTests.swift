// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import MeshLinux

struct CgroupTests {
    @Test func findsThePureAndTheHybridMount() {
        let pure = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
        #expect(Cgroup.mountPoint(in: pure) == "/sys/fs/cgroup")
        let hybrid = """
            31 24 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
            40 24 0:36 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
            """
        #expect(Cgroup.mountPoint(in: hybrid) == "/sys/fs/cgroup/unified")
        #expect(Cgroup.mountPoint(in: "40 24 0:36 / /mnt/a\\040b rw - cgroup2 cgroup2 rw") == "/mnt/a b")
    }

    @Test(arguments: ["", "\n", "-", "1 2 3 4 5 6", "1 2 3 4 5 6 - ", "1 2 3 4 5 6 7 - cgroup x"])
    func oddMountsHoldNone(text: String) {
        #expect(Cgroup.mountPoint(in: text) == nil)
    }

    @Test func readsTheVersionTwoLine() {
        #expect(Cgroup.unifiedPath(in: "9:cpu:/a\n0::/system.slice/x.service\n") == "/system.slice/x.service")
        #expect(Cgroup.unifiedPath(in: "9:cpu:/a\n") == nil)
    }
}
