// SPDX-License-Identifier: Apache-2.0

package import MeshModel

/// `security.istio.io/v1` AuthorizationPolicy, as far as it can be decided from a connection.
package struct AuthorizationPolicyResource: Codable, Hashable, Sendable {
    package enum Action: String, Codable, Hashable, Sendable, CaseIterable {
        case allow = "ALLOW"
        case deny = "DENY"
    }

    package struct Spec: Codable, Hashable, Sendable {
        package var selector: LabelSelector?
        /// nil: `ALLOW`.
        package var action: Action?
        @OmittedWhenEmpty package var rules: [Rule]

        package init(selector: LabelSelector? = nil, action: Action? = nil, rules: [Rule] = []) {
            self.selector = selector
            self.action = action
            self.rules = rules
        }
    }

    /// All parts that are present must hold; a rule without parts matches every connection.
    package struct Rule: Codable, Hashable, Sendable {
        @OmittedWhenEmpty package var from: [From]
        @OmittedWhenEmpty package var to: [To]
        @OmittedWhenEmpty package var when: [Condition]

        package init(from: [From] = [], to: [To] = [], when: [Condition] = []) {
            self.from = from
            self.to = to
            self.when = when
        }
    }

    package struct From: Codable, Hashable, Sendable {
        package var source: Source
        package init(source: Source) { self.source = source }
    }

    package struct Source: Codable, Hashable, Sendable {
        @OmittedWhenEmpty package var principals: [String]
        @OmittedWhenEmpty package var notPrincipals: [String]
        @OmittedWhenEmpty package var namespaces: [String]
        @OmittedWhenEmpty package var notNamespaces: [String]
        @OmittedWhenEmpty package var serviceAccounts: [String]
        @OmittedWhenEmpty package var notServiceAccounts: [String]
        @OmittedWhenEmpty package var ipBlocks: [String]
        @OmittedWhenEmpty package var notIpBlocks: [String]

        package init(
            principals: [String] = [], notPrincipals: [String] = [], namespaces: [String] = [],
            notNamespaces: [String] = [], serviceAccounts: [String] = [], notServiceAccounts: [String] = [],
            ipBlocks: [String] = [], notIpBlocks: [String] = []
        ) {
            self.principals = principals
            self.notPrincipals = notPrincipals
            self.namespaces = namespaces
            self.notNamespaces = notNamespaces
            self.serviceAccounts = serviceAccounts
            self.notServiceAccounts = notServiceAccounts
            self.ipBlocks = ipBlocks
            self.notIpBlocks = notIpBlocks
        }
    }

    package struct To: Codable, Hashable, Sendable {
        package var operation: Operation
        package init(operation: Operation) { self.operation = operation }
    }

    package struct Operation: Codable, Hashable, Sendable {
        @OmittedWhenEmpty package var ports: [String]
        @OmittedWhenEmpty package var notPorts: [String]

        package init(ports: [String] = [], notPorts: [String] = []) {
            self.ports = ports
            self.notPorts = notPorts
        }
    }

    package struct Condition: Codable, Hashable, Sendable {
        package enum Key: String, Codable, Hashable, Sendable, CaseIterable {
            case sourceIP = "source.ip"
            case sourceNamespace = "source.namespace"
            case sourcePrincipal = "source.principal"
            case destinationIP = "destination.ip"
            case destinationPort = "destination.port"
        }

        package var key: Key
        @OmittedWhenEmpty package var values: [String]
        @OmittedWhenEmpty package var notValues: [String]

        package init(key: Key, values: [String] = [], notValues: [String] = []) {
            self.key = key
            self.values = values
            self.notValues = notValues
        }
    }

    /// On a policy with this annotation set to `true` the decision is reported and not enforced.
    package static let dryRunAnnotation = "istio.io/dry-run"

    package private(set) var apiVersion = ResourceKind.authorizationPolicy.apiVersion
    package private(set) var kind = ResourceKind.authorizationPolicy
    package var metadata: ResourceMetadata
    package var spec: Spec

    package init(metadata: ResourceMetadata, spec: Spec) {
        self.metadata = metadata
        self.spec = spec
    }

    package var id: NamespacedName { self.metadata.id }

    package var isDryRun: Bool { self.metadata.annotations[Self.dryRunAnnotation] == "true" }
}
