// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import MeshSteering

struct KernelProbeTests {
    @Test(arguments: [
        ("6.1.0-53-cloud-amd64", 6, 1), ("6.18.44-fc", 6, 18), ("5.15", 5, 15), ("6.2-rc1", 6, 2),
    ])
    func readsReleases(text: String, major: Int, minor: Int) throws {
        let version = try #require(KernelProbe.versionNumbers(text))
        #expect(version == (major, minor))
    }

    @Test(arguments: ["", "6", "six.one", "6.x", "."])
    func oddReleasesAreNone(text: String) {
        #expect(KernelProbe.versionNumbers(text) == nil)
    }

    @Test func namesMissingCapabilities() {
        #expect(KernelProbe.missingCapabilities(inStatus: "Name:\tx\nCapEff:\t000001ffffffffff\n").isEmpty)
        #expect(
            KernelProbe.missingCapabilities(inStatus: "CapEff:\t0000000000001000\n") == ["CAP_SYS_ADMIN", "CAP_BPF"])
        #expect(KernelProbe.missingCapabilities(inStatus: "").count == 3)
        #expect(KernelProbe.missingCapabilities(inStatus: "CapEff:\tzz\n").count == 3)
    }
}
