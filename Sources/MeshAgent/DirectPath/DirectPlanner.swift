// SPDX-License-Identifier: Apache-2.0

import MeshModel
import MeshProxy
import MeshSteering

/// Decides whether connections of a workload to an address may pass the proxy by, and to whom they go then, from the
/// values by which the proxy itself decides. It has no state and touches no kernel.
package struct DirectPlanner: Sendable {
    /// A workload that is enrolled on this node.
    package struct End: Sendable, Hashable {
        package var id: WorkloadID
        package var key: UInt32
        /// Of its network namespace.
        package var namespaceCookie: UInt64
        package var addresses: [IPAddress]
        /// It asks for the socket map, and none of its programs is known not to bear it.
        package var isAccelerated: Bool

        package init(
            id: WorkloadID, key: UInt32, namespaceCookie: UInt64, addresses: [IPAddress], isAccelerated: Bool = false
        ) {
            self.id = id
            self.key = key
            self.namespaceCookie = namespaceCookie
            self.addresses = addresses
            self.isAccelerated = isAccelerated
        }
    }

    /// Why every connection goes through the proxy.
    package enum Refusal: Error, Hashable, Sendable {
        case switchedOff
        case sourceUnknown
        /// A limit of the workload, which only the proxy can keep.
        case limited(WorkloadID)
        /// A limit or setting of the service, which only the proxy can keep.
        case governed(NamespacedName)
        /// Another family than the source's addresses, a port of the mesh, or nothing that anybody knows.
        case unroutable
        /// No endpoint on this node may be reached directly.
        case noTarget
        case tooManyTargets
    }

    package var isOn: Bool
    package var snapshot: MeshSnapshot
    package var ends: [WorkloadID: End]
    package var ejections: [EndpointEjection]
    /// Whether TCP gets from one workload to the other without the proxy's help.
    package var isReachable: @Sendable (_ source: End, _ target: End, _ address: IPAddress) -> Bool

    package init(
        isOn: Bool, snapshot: MeshSnapshot, ends: [WorkloadID: End], ejections: [EndpointEjection],
        isReachable: @escaping @Sendable (_ source: End, _ target: End, _ address: IPAddress) -> Bool
    ) {
        self.isOn = isOn
        self.snapshot = snapshot
        self.ends = ends
        self.ejections = ejections
        self.isReachable = isReachable
    }

    /// The servers and their shares; what is missing to ``DirectVerdict/shares`` goes to the proxy.
    package func targets(
        from source: WorkloadID, to dialled: SocketAddress
    ) throws(Refusal) -> [DirectVerdict.Target] {
        if !self.isOn { throw .switchedOff }
        guard let end = self.ends[source], let client = self.snapshot.workload(source),
            client.node == self.snapshot.localNode, client.identity != nil
        else { throw .sourceUnknown }
        if client.limits != nil { throw .limited(source) }
        let own = end.addresses.filter { $0.isIPv4 == dialled.ip.isIPv4 }
        if own.isEmpty || MeshPorts.isReserved(dialled.port) { throw .unroutable }

        var set: EndpointSet?
        let route = self.snapshot.resolve(dialled) { endpoints in
            set = endpoints
            return nil
        }
        var targets: [DirectVerdict.Target] = []
        if let set {
            if set.policy != nil { throw .governed(set.service) }
            targets = self.shares(of: set, from: client, end, own: own, dialled: dialled)
        } else if case .success(let route) = route, case .local = route.path, let server = route.workload {
            let target = self.target(server, at: route.address, from: client, end, own: own, dialled: dialled)
            targets = target.map { [$0.with(share: DirectVerdict.shares)] } ?? []
        } else {
            throw .unroutable
        }
        if targets.isEmpty { throw .noTarget }
        if targets.count > DirectVerdict.maxTargets { throw .tooManyTargets }
        return targets
    }

    // MARK: - Endpoints

    /// The endpoints of the group that the proxy would choose from now; those that are not eligible keep their share of
    /// the weights, for the proxy.
    private func shares(
        of set: EndpointSet, from client: Workload, _ end: End, own: [IPAddress], dialled: SocketAddress
    ) -> [DirectVerdict.Target] {
        let ejected = Set(
            self.ejections.filter { $0.service == set.service && $0.port == set.port }.map(\.address))
        func usable(_ group: Range<Int>) -> [Int] {
            group.filter { !ejected.contains(set.endpoints[$0].address) }
        }
        guard let group = set.groups.map(usable).first(where: { !$0.isEmpty }) else { return [] }
        let total = group.reduce(UInt64(0)) { $0 + UInt64(set.weight(of: $1)) }
        var targets: [DirectVerdict.Target] = []
        var (weight, given) = (UInt64(0), UInt32(0))
        for index in group {
            let endpoint = set.endpoints[index]
            guard case .local = endpoint.path,
                let target = self.target(
                    endpoint.workload, at: endpoint.address, from: client, end, own: own, dialled: dialled)
            else { continue }
            weight += UInt64(set.weight(of: index))
            let upto = UInt32(truncatingIfNeeded: UInt64(DirectVerdict.shares) * weight / total)
            targets.append(target.with(share: upto - given))
            given = upto
        }
        return targets
    }

    /// The endpoint, if connections from that source may go straight to it.
    private func target(
        _ server: Workload, at address: SocketAddress, from client: Workload, _ end: End, own: [IPAddress],
        dialled: SocketAddress
    ) -> DirectVerdict.Target? {
        guard let target = self.ends[server.id], server.id != end.id, server.limits == nil,
            address.ip.isIPv4 == dialled.ip.isIPv4
        else { return nil }
        // The kernel chooses the source address, or the application; whichever it is, the answer has to be the same.
        for ip in own {
            let input = PolicyInput(sourceIdentity: client.identity, sourceIP: ip, destination: address)
            if !self.snapshot.decide(input, for: server).isAllowed { return nil }
        }
        guard self.isReachable(end, target, address.ip) else { return nil }
        return DirectVerdict.Target(
            key: target.key, address: address, namespaceCookie: target.namespaceCookie, share: 0,
            isAccelerated: end.isAccelerated && target.isAccelerated)
    }
}

extension DirectVerdict.Target {
    fileprivate func with(share: UInt32) -> Self {
        Self(
            key: self.key, address: self.address, namespaceCookie: self.namespaceCookie, share: share,
            isAccelerated: self.isAccelerated)
    }
}

extension DirectPlanner.Refusal: CustomStringConvertible {
    package var description: String {
        switch self {
        case .switchedOff: "the direct path is switched off, or the kernel cannot end sockets"
        case .sourceUnknown: "the source is not enrolled on this node"
        case .limited(let id): "ConnectionLimits hold for workload \(id), and only the proxy keeps them"
        case .governed(let service): "a DestinationRule holds for service \(service), and only the proxy keeps it"
        case .unroutable: "the destination is not a service or workload that the source can reach in its own family"
        case .noTarget: "no endpoint on this node may be reached without the proxy"
        case .tooManyTargets: "more than \(DirectVerdict.maxTargets) endpoints on this node"
        }
    }
}
