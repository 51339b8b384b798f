// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAPI
import MeshModel
import SwiftProtobuf

extension Istio_Security_Authorization {
    init(_ policy: AuthorizationPolicy) {
        self.init()
        self.name = policy.id.name
        self.namespace = policy.id.namespace
        self.scope =
            switch policy.scope {
            case .global: .global
            case .namespace: .namespace
            case .workloadSelector: .workloadSelector
            }
        self.action =
            switch policy.action {
            case .allow: .allow
            case .deny: .deny
            }
        self.dryRun = policy.isDryRun
        self.rules = policy.rules.map { rule in
            .with {
                $0.clauses = rule.clauses.map { clause in
                    .with { $0.matches = clause.matches.map(Istio_Security_Match.init) }
                }
            }
        }
    }
}

extension Istio_Security_Match {
    init(_ match: AuthorizationPolicy.Match) {
        self.init()
        self.namespaces = match.namespaces.map(Istio_Security_StringMatch.init)
        self.notNamespaces = match.notNamespaces.map(Istio_Security_StringMatch.init)
        self.principals = match.principals.map(Istio_Security_StringMatch.init)
        self.notPrincipals = match.notPrincipals.map(Istio_Security_StringMatch.init)
        self.sourceIps = match.sourceIPs.map(Istio_Security_Address.init)
        self.notSourceIps = match.notSourceIPs.map(Istio_Security_Address.init)
        self.destinationIps = match.destinationIPs.map(Istio_Security_Address.init)
        self.notDestinationIps = match.notDestinationIPs.map(Istio_Security_Address.init)
        self.destinationPorts = match.destinationPorts.map(UInt32.init)
        self.notDestinationPorts = match.notDestinationPorts.map(UInt32.init)
        self.serviceAccounts = match.serviceAccounts.map(Istio_Security_ServiceAccountMatch.init)
        self.notServiceAccounts = match.notServiceAccounts.map(Istio_Security_ServiceAccountMatch.init)
    }
}

extension Istio_Security_StringMatch {
    init(_ match: AuthorizationPolicy.StringMatch) {
        self.init()
        switch match {
        case .exact(let text): self.exact = text
        case .prefix(let text): self.prefix = text
        case .suffix(let text): self.suffix = text
        case .presence: self.presence = .init()
        }
    }
}

extension Istio_Security_Address {
    init(_ prefix: IPPrefix) {
        self.init()
        self.address = Data(prefix.address.bytes)
        self.length = UInt32(prefix.length)
    }
}

extension Istio_Security_ServiceAccountMatch {
    init(_ account: NamespacedName) {
        self.init()
        self.namespace = account.namespace
        self.serviceAccount = account.name
    }
}

extension AuthorizationPolicy {
    /// A policy with a condition this node does not know must not be enforced without it, so unknown fields inside
    /// rules are refused as well.
    init(_ message: Istio_Security_Authorization) throws(ResourceError) {
        try Field.absent(!message.extensions.isEmpty, "extensions")
        try Field.absent(!message.unknownFields.data.isEmpty, "a field that is unknown here")
        self.init(
            id: NamespacedName(
                namespace: try Field.name(message.namespace, "namespace"), name: try Field.name(message.name, "name")),
            scope: try Self.scope(message.scope),
            action: try Self.action(message.action),
            rules: try Field.list(message.rules, "rules", Self.rule),
            isDryRun: message.dryRun)
    }

    static func scope(_ value: Istio_Security_Scope) throws(ResourceError) -> Scope {
        switch value {
        case .global: return .global
        case .namespace: return .namespace
        case .workloadSelector: return .workloadSelector
        case .UNRECOGNIZED(let number): throw ResourceError("scope", "\(number) is unknown")
        }
    }

    private static func action(_ value: Istio_Security_Action) throws(ResourceError) -> Action {
        switch value {
        case .allow: return .allow
        case .deny: return .deny
        case .UNRECOGNIZED(let number): throw ResourceError("action", "\(number) is unknown")
        }
    }

    private static func rule(_ message: Istio_Security_Rule, _ field: String) throws(ResourceError) -> Rule {
        try Field.absent(!message.unknownFields.data.isEmpty, "\(field): a field that is unknown here")
        return Rule(
            clauses: try Field.list(message.clauses, "\(field).clauses") { clause, field throws(ResourceError) in
                try Field.absent(!clause.unknownFields.data.isEmpty, "\(field): a field that is unknown here")
                return Clause(matches: try Field.list(clause.matches, "\(field).matches", Self.match))
            })
    }

    private static func match(_ message: Istio_Security_Match, _ field: String) throws(ResourceError) -> Match {
        try Field.absent(!message.extensions.isEmpty, "\(field).extensions")
        try Field.absent(!message.unknownFields.data.isEmpty, "\(field): a field that is unknown here")
        var match = Match()
        match.namespaces = try Field.list(message.namespaces, "\(field).namespaces", Self.string)
        match.notNamespaces = try Field.list(message.notNamespaces, "\(field).not_namespaces", Self.string)
        match.principals = try Field.list(message.principals, "\(field).principals", Self.string)
        match.notPrincipals = try Field.list(message.notPrincipals, "\(field).not_principals", Self.string)
        match.sourceIPs = try Field.list(message.sourceIps, "\(field).source_ips", Self.prefix)
        match.notSourceIPs = try Field.list(message.notSourceIps, "\(field).not_source_ips", Self.prefix)
        match.destinationIPs = try Field.list(message.destinationIps, "\(field).destination_ips", Self.prefix)
        match.notDestinationIPs = try Field.list(
            message.notDestinationIps, "\(field).not_destination_ips", Self.prefix)
        match.destinationPorts = try Field.list(message.destinationPorts, "\(field).destination_ports", Field.port)
        match.notDestinationPorts = try Field.list(
            message.notDestinationPorts, "\(field).not_destination_ports", Field.port)
        match.serviceAccounts = try Field.list(message.serviceAccounts, "\(field).service_accounts", Self.account)
        match.notServiceAccounts = try Field.list(
            message.notServiceAccounts, "\(field).not_service_accounts", Self.account)
        return match
    }

    private static func string(
        _ message: Istio_Security_StringMatch, _ field: String
    ) throws(ResourceError) -> StringMatch {
        switch message.matchType {
        case .exact(let text): return .exact(text)
        case .prefix(let text): return .prefix(text)
        case .suffix(let text): return .suffix(text)
        case .presence: return .presence
        case nil: throw ResourceError(field, "has no kind of match that is known here")
        }
    }

    private static func prefix(_ message: Istio_Security_Address, _ field: String) throws(ResourceError) -> IPPrefix {
        try Field.prefix(message.address, length: message.length, field)
    }

    private static func account(
        _ message: Istio_Security_ServiceAccountMatch, _ field: String
    ) throws(ResourceError) -> NamespacedName {
        NamespacedName(
            namespace: try Field.name(message.namespace, "\(field).namespace"),
            name: try Field.name(message.serviceAccount, "\(field).service_account"))
    }
}
