// SPDX-License-Identifier: Apache-2.0

/// Where something runs, from wide to narrow, as in `topology.kubernetes.io` labels. An empty part is unknown.
package struct Locality: Hashable, Sendable {
    package var region: String
    package var zone: String
    package var subzone: String

    package init(region: String = "", zone: String = "", subzone: String = "") {
        self.region = region
        self.zone = zone
        self.subzone = subzone
    }

    package var isKnown: Bool { !self.region.isEmpty }
}

extension Locality: LosslessStringConvertible {
    /// Parses `region`, `region/zone` or `region/zone/subzone`, each part a name of at most 63 bytes; the empty text is
    /// the unknown locality.
    package init?(_ text: String) {
        if text.isEmpty {
            self.init()
            return
        }
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count <= 3, parts.allSatisfy(Self.isValidPart) else { return nil }
        self.init(
            region: parts[0], zone: parts.count > 1 ? parts[1] : "", subzone: parts.count > 2 ? parts[2] : "")
    }

    /// The form of a label's value, which localities are in Kubernetes.
    package static func isValidPart(_ text: String) -> Bool {
        text.utf8.count <= 63 && SPIFFEID.isValidSegment(text)
    }

    package var description: String {
        [self.region, self.zone, self.subzone].prefix { !$0.isEmpty }.joined(separator: "/")
    }
}
