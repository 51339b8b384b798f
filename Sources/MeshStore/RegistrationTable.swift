// SPDX-License-Identifier: Apache-2.0

import MeshModel
import MeshResources

/// Who holds which workload name and address while one node registers.
struct RegistrationTable {
    private var names: [WorkloadID: WorkloadRecord] = [:]
    private var addresses: [IPAddress: WorkloadRecord] = [:]
    private let resources: Set<ResourceKey>
    private let isAlive: (String) -> Bool
    /// Workloads of dead nodes whose name or address was claimed.
    private(set) var lost: Set<WorkloadID> = []

    init(others: [WorkloadRecord], resources: Set<ResourceKey>, isAlive: @escaping (String) -> Bool) {
        self.resources = resources
        self.isAlive = isAlive
        for other in others { self.add(other) }
    }

    /// Takes the workload's name and addresses, or says why it cannot have them.
    mutating func claim(_ workload: WorkloadRecord) -> String? {
        let id = workload.id
        if self.resources.contains(ResourceKey(kind: .workload, namespace: id.namespace, name: id.name)) {
            return "a Workload resource has this name: delete the resource or rename the workload"
        }
        if let holder = self.names[id] {
            if holder.node == workload.node { return "the node names it twice" }
            if self.isAlive(holder.node) {
                return "the node \(holder.node) runs a workload of this name: names are unique in the mesh, so rename "
                    + "this one or unenrol the other"
            }
        }
        if !workload.isHostNetwork {
            for address in workload.addresses {
                guard let holder = self.addresses[address], holder.id != id else { continue }
                if holder.node == workload.node || self.isAlive(holder.node) {
                    return
                        "its address \(address) belongs to \(holder.id) on the node \(holder.node): unenrol that one, "
                        + "or enrol this one as a host-network workload"
                }
            }
        }
        let stale = workload.addresses.compactMap { workload.isHostNetwork ? nil : self.addresses[$0]?.id }
        for other in Set(stale + (self.names[id] == nil ? [] : [id])) { self.remove(other) }
        self.add(workload)
        return nil
    }

    private mutating func add(_ workload: WorkloadRecord) {
        self.names[workload.id] = workload
        if workload.isHostNetwork { return }
        for address in workload.addresses { self.addresses[address] = workload }
    }

    private mutating func remove(_ id: WorkloadID) {
        guard let workload = self.names.removeValue(forKey: id) else { return }
        for address in workload.addresses where self.addresses[address]?.id == id { self.addresses[address] = nil }
        self.lost.insert(id)
    }
}
