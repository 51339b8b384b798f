// SPDX-License-Identifier: Apache-2.0

package import MeshModel

/// A stored policy holds a text that has no meaning: it was changed outside the control plane.
package struct UnreadablePolicy: Error, Hashable, Sendable, CustomStringConvertible {
    package var policy: NamespacedName
    package var text: String

    package var description: String { "AuthorizationPolicy \(self.policy) holds '\(self.text)': apply it again" }
}

extension AuthorizationPolicyResource {
    /// Does it name workloads with these labels in that namespace by its selector? A policy without one is for its
    /// whole namespace or mesh and nobody's list names it.
    ///
    /// A selector in the root namespace finds workloads in every namespace.
    package func selects(labels: [String: String], namespace: String, rootNamespace: String) -> Bool {
        guard let selector = self.spec.selector, !selector.matchLabels.isEmpty else { return false }
        return (self.metadata.namespace == namespace || self.metadata.namespace == rootNamespace)
            && selector.matches(labels)
    }

    /// The form that nodes evaluate.
    package func policy(rootNamespace: String) throws(UnreadablePolicy) -> AuthorizationPolicy {
        let hasSelector = self.spec.selector.map { !$0.matchLabels.isEmpty } ?? false
        let scope: AuthorizationPolicy.Scope =
            hasSelector ? .workloadSelector : self.metadata.namespace == rootNamespace ? .global : .namespace
        let action: AuthorizationPolicy.Action =
            switch self.spec.action {
            case .deny: .deny
            case .allow, nil: .allow
            }
        var rules: [AuthorizationPolicy.Rule] = []
        for rule in self.spec.rules { rules.append(try self.convert(rule)) }
        return AuthorizationPolicy(id: self.id, scope: scope, action: action, rules: rules, isDryRun: self.isDryRun)
    }

    /// Sources are one clause, operations another, and each condition one of its own.
    private func convert(_ rule: Rule) throws(UnreadablePolicy) -> AuthorizationPolicy.Rule {
        var clauses: [AuthorizationPolicy.Clause] = []
        if !rule.from.isEmpty {
            var matches: [AuthorizationPolicy.Match] = []
            for from in rule.from { matches.append(try self.convert(from.source)) }
            clauses.append(.init(matches: matches))
        }
        if !rule.to.isEmpty {
            var matches: [AuthorizationPolicy.Match] = []
            for to in rule.to {
                var match = AuthorizationPolicy.Match()
                match.destinationPorts = try self.ports(to.operation.ports)
                match.notDestinationPorts = try self.ports(to.operation.notPorts)
                matches.append(match)
            }
            clauses.append(.init(matches: matches))
        }
        for condition in rule.when { clauses.append(.init(matches: [try self.convert(condition)])) }
        return .init(clauses: clauses)
    }

    private func convert(_ source: Source) throws(UnreadablePolicy) -> AuthorizationPolicy.Match {
        var match = AuthorizationPolicy.Match()
        match.principals = source.principals.map(PolicyText.match)
        match.notPrincipals = source.notPrincipals.map(PolicyText.match)
        match.namespaces = source.namespaces.map(PolicyText.match)
        match.notNamespaces = source.notNamespaces.map(PolicyText.match)
        match.serviceAccounts = try self.accounts(source.serviceAccounts)
        match.notServiceAccounts = try self.accounts(source.notServiceAccounts)
        match.sourceIPs = try self.blocks(source.ipBlocks)
        match.notSourceIPs = try self.blocks(source.notIpBlocks)
        return match
    }

    private func convert(_ condition: Condition) throws(UnreadablePolicy) -> AuthorizationPolicy.Match {
        var match = AuthorizationPolicy.Match()
        switch condition.key {
        case .sourceIP:
            match.sourceIPs = try self.blocks(condition.values)
            match.notSourceIPs = try self.blocks(condition.notValues)
        case .sourceNamespace:
            match.namespaces = condition.values.map(PolicyText.match)
            match.notNamespaces = condition.notValues.map(PolicyText.match)
        case .sourcePrincipal:
            match.principals = condition.values.map(PolicyText.match)
            match.notPrincipals = condition.notValues.map(PolicyText.match)
        case .destinationIP:
            match.destinationIPs = try self.blocks(condition.values)
            match.notDestinationIPs = try self.blocks(condition.notValues)
        case .destinationPort:
            match.destinationPorts = try self.ports(condition.values)
            match.notDestinationPorts = try self.ports(condition.notValues)
        }
        return match
    }

    private func ports(_ texts: [String]) throws(UnreadablePolicy) -> [UInt16] {
        try self.all(texts, PolicyText.port)
    }

    private func blocks(_ texts: [String]) throws(UnreadablePolicy) -> [IPPrefix] {
        try self.all(texts) { IPPrefix($0) }
    }

    /// A service account without a namespace is one of the policy's own.
    private func accounts(_ texts: [String]) throws(UnreadablePolicy) -> [NamespacedName] {
        try self.all(texts) { text in
            text.contains("/")
                ? NamespacedName(text) : NamespacedName(namespace: self.metadata.namespace, name: text)
        }
    }

    private func all<Value>(
        _ texts: [String], _ read: (String) -> Value?
    ) throws(UnreadablePolicy) -> [Value] {
        var values: [Value] = []
        for text in texts {
            guard let value = read(text) else { throw UnreadablePolicy(policy: self.id, text: text) }
            values.append(value)
        }
        return values
    }
}
