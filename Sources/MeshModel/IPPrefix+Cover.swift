// SPDX-License-Identifier: Apache-2.0

extension IPPrefix {
    /// At most `limit` prefixes (but one for each family) that cover at least these: the closest neighbours are merged
    /// first, so that as little as possible is covered in addition. As they are when there are no more than `limit`.
    package static func cover(_ prefixes: Set<IPPrefix>, limit: Int) -> Set<IPPrefix> {
        guard prefixes.count > limit else { return prefixes }
        // The mapped IPv4 addresses lie in the midst of the IPv6 ones: each family has to be together.
        let order = { (prefix: IPPrefix) in
            (prefix.address.isIPv4 ? 0 : 1, prefix.address.high, prefix.address.low, prefix.length)
        }
        var sorted = prefixes.sorted { order($0) < order($1) }
        while sorted.count > limit {
            var best: (index: Int, merged: IPPrefix)?
            for index in sorted.indices.dropLast() {
                guard let merged = sorted[index].merged(with: sorted[index + 1]) else { continue }
                if merged.length > best?.merged.length ?? -1 || best == nil { best = (index, merged) }
            }
            guard let best else { break }
            sorted[best.index] = best.merged
            sorted.remove(at: best.index + 1)
        }
        return Set(sorted)
    }

    /// The longest prefix that holds both; nil for two families.
    private func merged(with other: IPPrefix) -> IPPrefix? {
        guard self.address.isIPv4 == other.address.isIPv4 else { return nil }
        let high = self.address.high ^ other.address.high
        let low = self.address.low ^ other.address.low
        let common = high != 0 ? high.leadingZeroBitCount : 64 + low.leadingZeroBitCount
        let length = min(common, self.mappedLength, other.mappedLength)
        return IPPrefix(address: self.address, length: self.address.isIPv4 ? max(0, length - 96) : length)
    }
}
