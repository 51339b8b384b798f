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
    /// The kinds of condition in a match, under the names operators write, in the order in which they are looked at.
    package enum Field: String, Hashable, Sendable, CaseIterable {
        case principals, notPrincipals
        case namespaces, notNamespaces
        case serviceAccounts, notServiceAccounts
        case sourceIPs = "ipBlocks"
        case notSourceIPs = "notIpBlocks"
        case destinationIPs = "destination.ip"
        case notDestinationIPs = "not destination.ip"
        case destinationPorts = "ports"
        case notDestinationPorts = "notPorts"

        fileprivate static let inOrder = Array(Self.allCases)
    }

    /// The first field that does not hold; nil when the match holds.
    func firstFailure(_ subject: PolicySubject) -> Field? {
        for field in Field.inOrder where !self.holds(field, subject) { return field }
        return nil
    }

    /// A positive field that is absent holds. An absent identity satisfies no positive field and every negative one.
    private func holds(_ field: Field, _ subject: PolicySubject) -> Bool {
        func isAny<T>(_ allowed: [T], _ matches: (T) -> Bool) -> Bool {
            allowed.isEmpty || allowed.contains(where: matches)
        }

        return switch field {
        case .principals: isAny(self.principals) { $0.matches(subject.principal) }
        case .notPrincipals: !self.notPrincipals.contains { $0.matches(subject.principal) }
        case .namespaces: isAny(self.namespaces) { $0.matches(subject.namespace) }
        case .notNamespaces: !self.notNamespaces.contains { $0.matches(subject.namespace) }
        case .serviceAccounts: isAny(self.serviceAccounts, subject.holds)
        case .notServiceAccounts: !self.notServiceAccounts.contains(where: subject.holds)
        case .sourceIPs: isAny(self.sourceIPs) { $0.contains(subject.sourceIP) }
        case .notSourceIPs: !self.notSourceIPs.contains { $0.contains(subject.sourceIP) }
        case .destinationIPs: isAny(self.destinationIPs) { $0.contains(subject.destination.ip) }
        case .notDestinationIPs: !self.notDestinationIPs.contains { $0.contains(subject.destination.ip) }
        case .destinationPorts: isAny(self.destinationPorts) { $0 == subject.destination.port }
        case .notDestinationPorts: !self.notDestinationPorts.contains(subject.destination.port)
        }
    }

    // MARK: - For people

    /// One field that is present: what it demands, and what the connection has.
    package struct Condition: Hashable, Sendable {
        package var field: Field
        package var demanded: [String]
        /// nil: the connection has no such thing, since it has no identity.
        package var seen: String?
        package var isMatched: Bool
    }

    /// The fields that are present, as far as they were looked at: the last may be the one that failed.
    package func conditions(_ input: PolicyInput) -> [Condition] {
        let subject = PolicySubject(input)
        var conditions: [Condition] = []
        for field in Field.inOrder {
            let (demanded, seen) = self.facts(of: field, subject)
            if demanded.isEmpty { continue }
            let isMatched = self.holds(field, subject)
            conditions.append(Condition(field: field, demanded: demanded, seen: seen, isMatched: isMatched))
            if !isMatched { break }
        }
        return conditions
    }

    private func facts(of field: Field, _ subject: PolicySubject) -> (demanded: [String], seen: String?) {
        let account = subject.namespace.flatMap { namespace in subject.serviceAccount.map { "\(namespace)/\($0)" } }
        return switch field {
        case .principals: (self.principals.map(\.description), subject.principal)
        case .notPrincipals: (self.notPrincipals.map(\.description), subject.principal)
        case .namespaces: (self.namespaces.map(\.description), subject.namespace)
        case .notNamespaces: (self.notNamespaces.map(\.description), subject.namespace)
        case .serviceAccounts: (self.serviceAccounts.map(\.description), account)
        case .notServiceAccounts: (self.notServiceAccounts.map(\.description), account)
        case .sourceIPs: (self.sourceIPs.map(\.description), subject.sourceIP.description)
        case .notSourceIPs: (self.notSourceIPs.map(\.description), subject.sourceIP.description)
        case .destinationIPs: (self.destinationIPs.map(\.description), subject.destination.ip.description)
        case .notDestinationIPs: (self.notDestinationIPs.map(\.description), subject.destination.ip.description)
        case .destinationPorts: (self.destinationPorts.map(\.description), "\(subject.destination.port)")
        case .notDestinationPorts: (self.notDestinationPorts.map(\.description), "\(subject.destination.port)")
        }
    }
}

extension AuthorizationPolicy.StringMatch: CustomStringConvertible {
    /// As operators write it.
    package var description: String {
        switch self {
        case .exact(let text): text
        case .prefix(let text): text + "*"
        case .suffix(let text): "*" + text
        case .presence: "*"
        }
    }
}
