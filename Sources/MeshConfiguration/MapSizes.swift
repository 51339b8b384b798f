// SPDX-License-Identifier: Apache-2.0

/// The kernel maps whose sizes an operator may set, by the names in the configuration.
package enum MapSizes {
    /// A smaller map would refuse what any node needs; the largest takes some gigabytes.
    private static let limits: ClosedRange<UInt32> = 64...4_194_304
    private static let ringLimits: ClosedRange<UInt32> = 4096...268_435_456

    /// In bytes and not in entries.
    package static let eventBytes = "eventBytes"

    package static let names = [
        "flows", "prefixes", "workloads", "ports", "exclusions", "addresses", "direct", "verdicts", "loads",
        Self.eventBytes,
    ]

    /// `name=entries`.
    static let kind = ValueKind<MapEntry<UInt32>>(
        "NAME=ENTRIES: NAME is one of \(Self.names.joined(separator: ", ")); ENTRIES from"
            + " \(Self.limits.lowerBound) to \(Self.limits.upperBound), eventBytes a power of two from"
            + " \(Self.ringLimits.lowerBound) to \(Self.ringLimits.upperBound)",
        parse: { text in
            let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2, let size = UInt32(parts[1]), Self.isValid(parts[0], size) else { return nil }
            return MapEntry(name: parts[0], value: size)
        }, text: { "\($0.name)=\($0.value)" })

    private static func isValid(_ name: String, _ size: UInt32) -> Bool {
        if name == Self.eventBytes { return Self.ringLimits.contains(size) && size & (size - 1) == 0 }
        return Self.names.contains(name) && Self.limits.contains(size)
    }
}
