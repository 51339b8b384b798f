// SPDX-License-Identifier: Apache-2.0
import MeshModel
import Testing

struct IPPrefixCoverTests {
    private func cover(_ prefixes: [String], _ limit: Int) -> Set<String> {
        Set(IPPrefix.cover(Set(prefixes.compactMap { IPPrefix($0) }), limit: limit).map(\.description))
    }

    @Test func whatFitsStays() {
        #expect(self.cover(["10.0.0.0/8", "fd00::/8"], 2) == ["10.0.0.0/8", "fd00::/8"])
    }

    @Test func theClosestAreMergedFirst() {
        #expect(
            self.cover(["10.1.0.0/24", "10.1.1.0/24", "192.168.0.0/16", "fd00::/8"], 3)
                == ["10.1.0.0/23", "192.168.0.0/16", "fd00::/8"])
    }

    @Test func aPrefixSwallowsWhatItHolds() {
        #expect(self.cover(["10.0.0.0/8", "10.1.1.1/32", "11.0.0.0/8"], 2) == ["10.0.0.0/8", "11.0.0.0/8"])
    }

    @Test func oneOfEachFamilyIsTheLeast() {
        #expect(self.cover(["1.0.0.0/8", "200.0.0.0/8", "::1/128", "8000::/16"], 1) == ["0.0.0.0/0", "::/0"])
    }

    @Test func everythingIsCovered() {
        var random = SystemRandomNumberGenerator()
        var prefixes: Set<IPPrefix> = []
        while prefixes.count < 200 {
            let ip = IPAddress(ipv4: UInt32.random(in: 0...UInt32.max, using: &random))
            let length = Int.random(in: 8...32, using: &random)
            if let prefix = IPPrefix(address: ip, length: length) { prefixes.insert(prefix) }
        }
        for limit in [1, 7, 100] {
            let cover = IPPrefix.cover(prefixes, limit: limit)
            #expect(cover.count <= limit)
            for prefix in prefixes {
                #expect(cover.contains { $0.length <= prefix.length && $0.contains(prefix.address) })
            }
        }
    }
}
