// SPDX-License-Identifier: Apache-2.0

/// A ``PolicyInput`` with the texts that matches compare computed once.
struct PolicySubject {
    let principal: String?
    let namespace: String?
    let serviceAccount: String?
    let sourceIP: IPAddress
    let destination: SocketAddress

    init(_ input: PolicyInput) {
        self.principal = input.sourceIdentity?.principal
        self.namespace = input.sourceIdentity?.namespace
        self.serviceAccount = input.sourceIdentity?.serviceAccount
        self.sourceIP = input.sourceIP
        self.destination = input.destination
    }

    func holds(_ account: NamespacedName) -> Bool {
        self.namespace == account.namespace && self.serviceAccount == account.name
    }
}

extension AuthorizationPolicy.StringMatch {
    /// An absent value matches nothing.
    package func matches(_ value: String?) -> Bool {
        guard let value, !value.isEmpty else { return false }
        return switch self {
        case .exact(let text): value == text
        case .prefix(let text): value.hasPrefix(text)
        case .suffix(let text): value.hasSuffix(text)
        case .presence: true
        }
    }
}

extension AuthorizationPolicy.Match {
    /// The kinds of condition in a match, under the names operators write.
    package enum Field: String, Hashable, Sendable, CaseIterable {
        case namespaces, notNamespaces
        case principals, notPrincipals
        case sourceIPs = "ipBlocks"
        case notSourceIPs = "notIpBlocks"
        case destinationIPs = "destination.ip"
        case notDestinationIPs = "not destination.ip"
        case destinationPorts = "ports"
        case notDestinationPorts = "notPorts"
        case serviceAccounts, notServiceAccounts
    }

    /// The first field that does not hold; nil when the match holds.
    ///
    /// A positive field that is absent holds. An absent identity satisfies no positive field and every negative one.
    func firstFailure(_ subject: PolicySubject) -> Field? {
        func fails<T>(_ allowed: [T], _ holds: (T) -> Bool) -> Bool {
            !allowed.isEmpty && !allowed.contains(where: holds)
        }

        if fails(self.principals, { $0.matches(subject.principal) }) { return .principals }
        if self.notPrincipals.contains(where: { $0.matches(subject.principal) }) { return .notPrincipals }
        if fails(self.namespaces, { $0.matches(subject.namespace) }) { return .namespaces }
        if self.notNamespaces.contains(where: { $0.matches(subject.namespace) }) { return .notNamespaces }
        if fails(self.serviceAccounts, subject.holds) { return .serviceAccounts }
        if self.notServiceAccounts.contains(where: subject.holds) { return .notServiceAccounts }
        if fails(self.sourceIPs, { $0.contains(subject.sourceIP) }) { return .sourceIPs }
        if self.notSourceIPs.contains(where: { $0.contains(subject.sourceIP) }) { return .notSourceIPs }
        if fails(self.destinationIPs, { $0.contains(subject.destination.ip) }) { return .destinationIPs }
        if self.notDestinationIPs.contains(where: { $0.contains(subject.destination.ip) }) {
            return .notDestinationIPs
        }
        if fails(self.destinationPorts, { $0 == subject.destination.port }) { return .destinationPorts }
        if self.notDestinationPorts.contains(subject.destination.port) { return .notDestinationPorts }
        return nil
    }
}
