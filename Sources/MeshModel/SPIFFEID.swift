// SPDX-License-Identifier: Apache-2.0

/// A SPIFFE identity of this mesh (SPIFFE-ID specification §2): a workload's or a node's.
package struct SPIFFEID: Hashable, Sendable {
    /// What the identity names inside its trust domain.
    package enum Subject: Hashable, Sendable {
        case workload(namespace: String, serviceAccount: String)
        case node(String)
    }

    /// Shared by the copies: each connection holds several, and there are few.
    private final class Parts: Sendable {
        let trustDomain: String
        let subject: Subject

        init(_ trustDomain: String, _ subject: Subject) {
            self.trustDomain = trustDomain
            self.subject = subject
        }
    }

    private let parts: Parts

    package var trustDomain: String { self.parts.trustDomain }
    package var subject: Subject { self.parts.subject }

    /// nil unless every part is valid (see ``isValidTrustDomain(_:)`` and ``isValidSegment(_:)``).
    package init?(trustDomain: String, subject: Subject) {
        guard Self.isValidTrustDomain(trustDomain) else { return nil }
        switch subject {
        case .workload(let namespace, let serviceAccount):
            guard Self.isValidSegment(namespace), Self.isValidSegment(serviceAccount) else { return nil }
        case .node(let name):
            guard Self.isValidSegment(name) else { return nil }
        }
        self.parts = Parts(trustDomain, subject)
    }

    package static func == (left: Self, right: Self) -> Bool {
        left.parts === right.parts || (left.subject == right.subject && left.trustDomain == right.trustDomain)
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(self.trustDomain)
        hasher.combine(self.subject)
    }

    /// Lower-case letters, digits, dots, dashes and underscores; at most 255 bytes (SPIFFE-ID §2.1).
    package static func isValidTrustDomain(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 255
            && text.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || [45, 46, 95].contains($0) }
    }

    /// A path segment: letters, digits, dots, dashes and underscores, not `.` or `..` (SPIFFE-ID §2.2).
    package static func isValidSegment(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 253 && text != "." && text != ".."
            && text.utf8.allSatisfy {
                (97...122).contains($0) || (65...90).contains($0) || (48...57).contains($0)
                    || [45, 46, 95].contains($0)
            }
    }

    package var namespace: String? {
        if case .workload(let namespace, _) = self.subject { namespace } else { nil }
    }

    package var serviceAccount: String? {
        if case .workload(_, let account) = self.subject { account } else { nil }
    }

    /// The form that policies compare with: `td/ns/NAMESPACE/sa/ACCOUNT`, without the scheme.
    package var principal: String { String(self.description.dropFirst("spiffe://".count)) }
}

extension SPIFFEID: LosslessStringConvertible {
    /// Parses `spiffe://td/ns/NS/sa/SA` or `spiffe://td/node/NAME`; anything else is nil.
    package init?(_ text: String) {
        let scheme = "spiffe://"
        guard text.hasPrefix(scheme), text.utf8.count <= 2048 else { return nil }
        let parts = text.dropFirst(scheme.count).split(separator: "/", omittingEmptySubsequences: false).map(
            String.init)
        switch parts.count {
        case 5 where parts[1] == "ns" && parts[3] == "sa":
            self.init(trustDomain: parts[0], subject: .workload(namespace: parts[2], serviceAccount: parts[4]))
        case 3 where parts[1] == "node":
            self.init(trustDomain: parts[0], subject: .node(parts[2]))
        default:
            return nil
        }
    }

    package var description: String {
        switch self.subject {
        case .workload(let namespace, let account): "spiffe://\(self.trustDomain)/ns/\(namespace)/sa/\(account)"
        case .node(let name): "spiffe://\(self.trustDomain)/node/\(name)"
        }
    }
}
