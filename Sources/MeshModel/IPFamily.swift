// SPDX-License-Identifier: Apache-2.0

/// A family of IP addresses, named as Kubernetes does.
package enum IPFamily: String, Sendable, Hashable, CaseIterable, Codable {
    case ipv4 = "IPv4"
    case ipv6 = "IPv6"
}

extension IPAddress {
    package var family: IPFamily { self.isIPv4 ? .ipv4 : .ipv6 }
}
