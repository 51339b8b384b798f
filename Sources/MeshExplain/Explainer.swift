// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import MeshModel

/// Says what would happen to a connection, step by step, from the state and by the code that decide about connections.
package struct Explainer: Sendable {
    let snapshot: MeshSnapshot
    /// nil: nothing is known but what nodes are told; the snapshot is the one of the source's node then.
    let facts: NodeFacts?

    package init(snapshot: MeshSnapshot, facts: NodeFacts?) {
        self.snapshot = snapshot
        self.facts = facts
    }

    /// - Parameters:
    ///   - source: `NAMESPACE/NAME` of a workload, or the IP address of somebody outside the mesh.
    ///   - destination: `IP:PORT`, or a service's host name, `name.namespace` or, in the source's own namespace, `name`,
    ///     and a port.
    package func explain(source: String, destination: String) throws(ExplainError) -> Explanation {
        if let client = IPAddress(source) {
            let address = try self.resolve(destination, from: nil)
            var answer = self.begin(source, address)
            try self.arrive(client, at: address, &answer)
            return answer
        }
        guard let id = WorkloadID(source) else {
            throw ExplainError(
                .invalid, "source '\(source.prefix(256))' is neither NAMESPACE/NAME of a workload nor an IP address")
        }
        let workload = self.snapshot.workload(id)
        let address = try self.resolve(destination, from: id)
        var answer = self.begin(source, address)
        if let hook = self.facts?.outbound(id, address) {
            guard let workload else {
                answer.refuse(
                    "capture", .identityUnavailable,
                    "enrolled here, but not yet part of this node's view: it waits for the control plane")
                return answer
            }
            self.leave(workload, to: address, by: hook, &answer)
            return answer
        }
        guard let workload else {
            throw ExplainError(
                .notFound, "no workload is called \(id); 'nodemeshctl workload list --all' shows those that there are")
        }
        if self.facts == nil {
            self.leave(workload, to: address, by: nil, &answer)
        } else {
            try self.receive(workload, at: address, &answer)
        }
        return answer
    }

    private func begin(_ source: String, _ destination: SocketAddress) -> Explanation {
        Explanation(
            source: source, destination: destination.description, steps: [], verdict: "refused", reason: nil,
            policy: nil, rule: nil, node: self.facts == nil ? nil : self.snapshot.localNode)
    }

    private func resolve(_ text: String, from source: WorkloadID?) throws(ExplainError) -> SocketAddress {
        if let address = SocketAddress(text) { return address }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let port = UInt16(parts[1]), port != 0, !parts[0].isEmpty else {
            throw ExplainError(.invalid, "destination '\(text.prefix(256))' is not IP:PORT or SERVICE:PORT")
        }
        let host = String(parts[0])
        let labels = host.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        let service =
            switch (labels.count, source) {
            case (1, let source?): self.snapshot.service(NamespacedName(namespace: source.namespace, name: host))
            case (2, _): self.snapshot.service(NamespacedName(namespace: labels[1], name: labels[0]))
            default: self.snapshot.service(hostname: host)
            }
        guard let service else {
            throw ExplainError(
                .notFound, "no service is called '\(host)'; 'nodemeshctl service list' shows those that there are")
        }
        // As a resolver would answer: IPv4 first, unless the workload has none.
        let own = source.flatMap { self.snapshot.workload($0)?.addresses } ?? []
        let hasIPv4 = own.isEmpty || own.contains(where: \.isIPv4)
        guard let address = service.addresses.first(where: { $0.isIPv4 == hasIPv4 }) ?? service.addresses.first else {
            throw ExplainError(
                .invalid,
                "service \(service.id) has no address, since it is headless: name one of its workloads' addresses")
        }
        return SocketAddress(ip: address, port: port)
    }

    // MARK: - Asked on the destination's node, or about a client outside the mesh

    /// A workload of another node.
    private func receive(
        _ source: Workload, at destination: SocketAddress, _ answer: inout Explanation
    ) throws(ExplainError) {
        let here = self.targets(of: destination).filter { $0.workload.node == self.snapshot.localNode }
        let where_ = source.node.isEmpty ? "outside the mesh" : "on node \(source.node)"
        guard let target = here.first, source.node != self.snapshot.localNode else {
            throw ExplainError(
                .notFound,
                source.node == self.snapshot.localNode
                    ? "workload \(source.id) belongs to this node and is not enrolled; see 'nodemeshctl workload list'"
                    : "workload \(source.id) runs \(where_), and \(destination) does not lead here: ask there, or the "
                        + "control plane with --all")
        }
        answer.add(
            "capture", "elsewhere",
            "workload \(source.id) runs \(where_), which sends the connection; this is what the node of the destination "
                + "makes of it")
        if here.count > 1 {
            answer.add("endpoint", "resolved", "one of \(here.count) endpoints on this node: \(target.workload.id)")
        }
        if source.tunnel == .none {
            self.receivePlaintext(from: source.addresses.first ?? destination.ip, target, &answer)
            return
        }
        answer.add("wire", Wire.splice.rawValue, "mutual TLS 1.3 from node \(source.node)")
        self.judge(source, target.workload, at: target.address, dialled: destination, by: .tunnel, &answer)
    }

    /// Somebody without an identity.
    private func arrive(
        _ client: IPAddress, at destination: SocketAddress, _ answer: inout Explanation
    ) throws(ExplainError) {
        guard self.snapshot.service(at: destination.ip) == nil else {
            throw ExplainError(
                .invalid,
                "\(destination.ip) is a service's virtual address, which nothing outside the mesh can reach: name "
                    + "a workload's address")
        }
        guard let target = self.targets(of: destination).first else {
            throw ExplainError(.notFound, "no workload of the mesh is at \(destination)")
        }
        if self.facts != nil, target.workload.node != self.snapshot.localNode {
            throw ExplainError(
                .notFound,
                "workload \(target.workload.id) runs on node \(target.workload.node): ask there, or the control "
                    + "plane with --all")
        }
        self.receivePlaintext(from: client, target, &answer)
    }

    private func receivePlaintext(
        from client: IPAddress, _ target: (workload: Workload, address: SocketAddress), _ answer: inout Explanation
    ) {
        if let facts = self.facts {
            guard let hook = facts.inbound(target.workload.id, target.address.port) else {
                answer.leave("capture", nil, "workload \(target.workload.id) is not enrolled on this node any more")
                return
            }
            guard self.passes(hook, answer: &answer, what: "connections to port \(target.address.port)") else { return }
        }
        answer.add("wire", Wire.plaintext.rawValue, "from outside the mesh: plain TCP, no identity")
        self.judge(nil, target.workload, at: target.address, client: client, by: .plaintext, &answer)
    }

    /// The workloads that an address leads to, and where.
    private func targets(of destination: SocketAddress) -> [(workload: Workload, address: SocketAddress)] {
        var found: [(workload: Workload, address: SocketAddress)] = []
        let result = self.snapshot.resolve(destination) { set in
            found = set.endpoints.map { ($0.workload, $0.address) }
            return nil
        }
        if case .success(let route) = result, let workload = route.workload { return [(workload, route.address)] }
        return found
    }
}
