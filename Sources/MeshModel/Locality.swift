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
