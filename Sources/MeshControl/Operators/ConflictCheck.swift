// SPDX-License-Identifier: Apache-2.0

import MeshModel
import MeshResources
import MeshStore

/// Refuses resources that are right by themselves and wrong beside the others. It runs inside the transaction that
/// stores them, on the state they would make.
struct ConflictCheck: Sendable {
    /// The resources that are being stored.
    let keys: Set<ResourceKey>
    let settings: MeshSettings

    /// What nodes capture.
    private var prefixes: [IPPrefix] { self.settings.prefixes }

    func callAsFunction(_ snapshot: StoreSnapshot) throws {
        let conflicts =
            self.addressesOutside(snapshot) + (try self.workloads(snapshot))
            + (try self.destinationRules(snapshot))
        if !conflicts.isEmpty { throw StoreError(conflicts) }
    }

    /// A virtual address that nodes do not capture would never be reached.
    private func addressesOutside(_ snapshot: StoreSnapshot) -> [StoreError.Conflict] {
        snapshot.resources.filter { self.keys.contains($0.key) }.flatMap { record in
            record.addresses.filter { address in !self.prefixes.contains { $0.contains(address) } }.map { address in
                StoreError.Conflict(
                    key: record.key, path: "spec.clusterIP",
                    reason: "\(address) is outside the mesh prefixes "
                        + "(\(self.prefixes.map(\.description).joined(separator: ", "))), so nodes would not capture "
                        + "it: choose another, or start nodemesh-control with a --mesh-prefix that holds it")
            }
        }
    }

    /// Names and addresses of declared workloads against those of registered workloads, services and each other.
    private func workloads(_ snapshot: StoreSnapshot) throws -> [StoreError.Conflict] {
        guard self.keys.contains(where: { $0.kind == .workload || $0.kind == .service }) else { return [] }
        let registered = Dictionary(snapshot.workloads.map { ($0.id, $0) }, uniquingKeysWith: { $1 })
        var owners: [IPAddress: (text: String, key: ResourceKey?)] = [:]
        for workload in snapshot.workloads where !workload.isHostNetwork {
            for address in workload.addresses {
                owners[address] = ("the workload \(workload.id) on the node \(workload.node)", nil)
            }
        }
        for record in snapshot.resources where record.key.kind == .service {
            for address in record.addresses {
                if let owner = owners[address], self.keys.contains(record.key) {
                    let reason = "\(address) belongs to \(owner.text)"
                    return [.init(key: record.key, path: "spec.clusterIP", reason: reason)]
                }
                owners[address] = ("the \(record.key)", record.key)
            }
        }
        var conflicts: [StoreError.Conflict] = []
        for record in snapshot.resources where record.key.kind == .workload {
            guard case .workload(let workload) = try Resource(canonicalJSON: record.json) else { continue }
            let isNew = self.keys.contains(record.key)
            if isNew, let other = registered[record.key.id] {
                conflicts.append(
                    .init(
                        key: record.key, path: "metadata.name",
                        reason: "the node \(other.node) runs a workload of this name: choose another, or unenrol it"))
            }
            for address in workload.addresses {
                if let owner = owners[address] {
                    // Whichever of the two is new is the one to complain about.
                    let key = isNew ? record.key : owner.key.flatMap { self.keys.contains($0) ? $0 : nil }
                    if let key {
                        let text = isNew ? owner.text : "the \(record.key)"
                        let path = key.kind == .service ? "spec.clusterIP" : "spec.addresses"
                        conflicts.append(.init(key: key, path: path, reason: "\(address) belongs to \(text)"))
                    }
                } else {
                    owners[address] = ("the \(record.key)", record.key)
                }
            }
        }
        return conflicts
    }

    /// A rule speaks for its own namespace, or from the root namespace for all, and one at a time for one host.
    private func destinationRules(_ snapshot: StoreSnapshot) throws -> [StoreError.Conflict] {
        guard self.keys.contains(where: { $0.kind == .destinationRule }) else { return [] }
        let root = self.settings.rootNamespace
        var conflicts: [StoreError.Conflict] = []
        var first: [String: [DestinationHost: ResourceKey]] = [:]
        let records = snapshot.resources.filter { $0.key.kind == .destinationRule }
        // Whichever of two is new is the one to complain about.
        for record in records.sorted(by: { !self.keys.contains($0.key) && self.keys.contains($1.key) }) {
            guard case .destinationRule(let rule) = try Resource(canonicalJSON: record.json), let host = rule.host
            else { continue }
            let namespace = record.key.namespace
            let isNew = self.keys.contains(record.key)
            if isNew, namespace != root, host.namespace != namespace {
                let services = host.namespace.map { "of namespace \($0)" } ?? "of every namespace"
                conflicts.append(
                    .init(
                        key: record.key, path: "spec.host",
                        reason: "names services \(services): a rule for them belongs there or into \(root)"))
            }
            if let other = first[namespace]?[host] {
                if isNew {
                    conflicts.append(
                        .init(
                            key: record.key, path: "spec.host",
                            reason: "\(other) is for the same host, and rules are not merged: change that one"))
                }
            } else {
                first[namespace, default: [:]][host] = record.key
            }
        }
        return conflicts
    }
}
