// SPDX-License-Identifier: Apache-2.0

/// An authorization policy in the form nodes evaluate (`istio.security.Authorization`).
package struct AuthorizationPolicy: Hashable, Sendable {
    package enum Scope: String, Sendable, Hashable { case global, namespace, workloadSelector }
    package enum Action: String, Sendable, Hashable { case allow, deny }

    package var id: NamespacedName
    package var scope: Scope
    package var action: Action
    /// Any rule may match. No rules: the policy matches nothing.
    package var rules: [Rule]
    /// Evaluated, counted and logged, never enforced.
    package var isDryRun: Bool

    package init(id: NamespacedName, scope: Scope, action: Action, rules: [Rule], isDryRun: Bool = false) {
        self.id = id
        self.scope = scope
        self.action = action
        self.rules = rules
        self.isDryRun = isDryRun
    }

    // Names of policies that PeerAuthentications become; no operator can give them, since `_` is not allowed in theirs.
    package static let strictName = "istio_converted_static_strict"
    package static let portsPrefix = "converted_peer_authentication_"

    /// Says which plaintext is refused, not what an operator wrote into an AuthorizationPolicy.
    package var isPeerAuthentication: Bool {
        self.id.name == Self.strictName || self.id.name.hasPrefix(Self.portsPrefix)
    }

    /// All clauses must match; a rule without clauses matches everything.
    package struct Rule: Hashable, Sendable {
        package var clauses: [Clause]
        package init(clauses: [Clause]) { self.clauses = clauses }
    }

    /// Any match may match.
    package struct Clause: Hashable, Sendable {
        package var matches: [Match]
        package init(matches: [Match]) { self.matches = matches }
    }

    /// All kinds that are present must hold; within one kind any value may; `not` kinds must not.
    package struct Match: Hashable, Sendable {
        package var namespaces: [StringMatch] = []
        package var notNamespaces: [StringMatch] = []
        package var principals: [StringMatch] = []
        package var notPrincipals: [StringMatch] = []
        package var sourceIPs: [IPPrefix] = []
        package var notSourceIPs: [IPPrefix] = []
        package var destinationIPs: [IPPrefix] = []
        package var notDestinationIPs: [IPPrefix] = []
        package var destinationPorts: [UInt16] = []
        package var notDestinationPorts: [UInt16] = []
        /// Namespace and service account, in any trust domain.
        package var serviceAccounts: [NamespacedName] = []
        package var notServiceAccounts: [NamespacedName] = []

        package init() {}
    }

    package enum StringMatch: Hashable, Sendable {
        case exact(String)
        case prefix(String)
        case suffix(String)
        /// Any non-empty value.
        case presence
    }
}
