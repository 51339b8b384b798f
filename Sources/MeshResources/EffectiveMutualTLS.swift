// SPDX-License-Identifier: Apache-2.0

package import MeshModel

/// Whether a workload accepts plaintext from outside the mesh, after all PeerAuthentications are taken together.
package struct EffectiveMutualTLS: Hashable, Sendable {
    /// For every port that is not in `strictPorts` or `permissivePorts`.
    package var isStrict: Bool
    /// Ports that refuse plaintext although the rest accepts it.
    package var strictPorts: Set<UInt16>
    /// Ports that accept plaintext although the rest refuses it.
    package var permissivePorts: Set<UInt16>
    /// The one that selects the workload by label.
    package var selecting: NamespacedName?
    /// The one that decides for the ports without a mode of their own; nil: none says anything.
    package var deciding: NamespacedName?

    /// The workload's own, then its namespace's, then the mesh's decides; each may leave it to the next with UNSET, and
    /// when nobody says anything plaintext is accepted.
    ///
    /// - Parameter resources: oldest first; of several with the same scope the first counts.
    package init(
        labels: [String: String], namespace: String, rootNamespace: String, resources: [PeerAuthenticationResource]
    ) {
        let mesh = resources.first { !$0.hasSelector && $0.metadata.namespace == rootNamespace }
        let own = resources.first {
            !$0.hasSelector && $0.metadata.namespace == namespace && namespace != rootNamespace
        }
        let selecting = resources.first {
            $0.hasSelector && $0.metadata.namespace == namespace && $0.spec.selector?.matches(labels) == true
        }
        let deciding = [selecting, own, mesh].compactMap(\.self).first { $0.mode != .unset }
        let isStrict = deciding?.mode == .strict
        let ports = (selecting?.spec.portLevelMtls ?? [:]).compactMap { entry in
            UInt16(entry.key).map { (port: $0, mode: entry.value.mode ?? .unset) }
        }
        self.isStrict = isStrict
        self.strictPorts = Set(isStrict ? [] : ports.filter { $0.mode == .strict }.map(\.port))
        self.permissivePorts = Set(isStrict ? ports.filter { $0.mode == .permissive }.map(\.port) : [])
        self.selecting = selecting?.id
        self.deciding = deciding?.id
    }

    /// The one that has a say in what becomes of plaintext; with modes for ports, the one that selects the workload.
    package var origin: NamespacedName? {
        self.strictPorts.isEmpty && self.permissivePorts.isEmpty ? self.deciding : self.selecting
    }

    /// Does that port of the workload refuse plaintext?
    package func isStrict(port: UInt16) -> Bool {
        self.isStrict ? !self.permissivePorts.contains(port) : self.strictPorts.contains(port)
    }

    /// The policy that enforces it, which the workload's list has to name; nil: plaintext is accepted everywhere. All
    /// workloads that one PeerAuthentication selects get the same one.
    package func policy(rootNamespace: String) -> AuthorizationPolicy? {
        guard let selecting, !self.strictPorts.isEmpty || !self.permissivePorts.isEmpty else {
            return self.isStrict ? Self.strictPolicy(rootNamespace: rootNamespace) : nil
        }
        var match = AuthorizationPolicy.Match()
        match.notPrincipals = [.presence]
        match.destinationPorts = self.strictPorts.sorted()
        match.notDestinationPorts = self.permissivePorts.sorted()
        return AuthorizationPolicy(
            id: NamespacedName(namespace: selecting.namespace, name: AuthorizationPolicy.portsPrefix + selecting.name),
            scope: .workloadSelector, action: .deny, rules: [.init(clauses: [.init(matches: [match])])])
    }

    /// Denies every connection without an identity.
    package static func strictPolicy(rootNamespace: String) -> AuthorizationPolicy {
        var match = AuthorizationPolicy.Match()
        match.notPrincipals = [.presence]
        return AuthorizationPolicy(
            id: NamespacedName(namespace: rootNamespace, name: AuthorizationPolicy.strictName),
            scope: .workloadSelector,
            action: .deny, rules: [.init(clauses: [.init(matches: [match])])])
    }
}
