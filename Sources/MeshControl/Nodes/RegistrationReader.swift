// SPDX-License-Identifier: Apache-2.0

import MeshAPI
import MeshModel
import MeshResources
import MeshStore

/// Checks what a node registers: each fault of a workload refuses that workload, a fault of the node refuses all.
struct RegistrationReader {
    /// The most workloads one node may register.
    static let maximumWorkloads = 4096
    private static let maximumAddresses = 16
    private static let maximumLabels = 64
    private static let maximumPorts = 1024
    private static let maximumWeight: UInt32 = 1_000_000

    /// Addresses that belong to services.
    let virtualPrefixes: [IPPrefix]
    private(set) var workloads: [WorkloadRecord] = []
    private(set) var refusals: [RegistrationResult.Refusal] = []

    init(virtualPrefixes: [IPPrefix]) { self.virtualPrefixes = virtualPrefixes }

    /// The node's own addresses, port and place, or what is wrong with them.
    static func endpoint(
        _ request: Nodemesh_V1_SyncWorkloadsRequest
    ) -> Result<(addresses: [IPAddress], port: UInt16, locality: Locality), ControlError> {
        guard let port = UInt16(exactly: request.tunnelPort), port != 0 else {
            return .failure(ControlError("the tunnel port \(request.tunnelPort) is no port"))
        }
        guard (1...Self.maximumAddresses).contains(request.nodeAddresses.count) else {
            return .failure(ControlError("a node has 1 to \(Self.maximumAddresses) addresses"))
        }
        guard request.workloads.count <= Self.maximumWorkloads else {
            return .failure(ControlError("a node registers at most \(Self.maximumWorkloads) workloads"))
        }
        guard let locality = Locality(request.locality) else {
            return .failure(ControlError("'\(request.locality.prefix(200))' is not region/zone/subzone"))
        }
        var addresses: [IPAddress] = []
        for text in request.nodeAddresses {
            guard let address = IPAddress(text), !address.isUnspecified, !address.isMulticast else {
                return .failure(ControlError("'\(text.prefix(64))' is no address on which peers reach a node"))
            }
            if !addresses.contains(address) { addresses.append(address) }
        }
        return .success((addresses, port, locality))
    }

    mutating func read(_ registration: Nodemesh_V1_WorkloadRegistration, node: String) {
        let id = WorkloadID(namespace: registration.namespace, name: registration.name)
        if let fault = Self.nameFault(registration) {
            self.refusals.append(.init(id: id, reason: fault))
            return
        }
        var addresses: [IPAddress] = []
        for text in registration.addresses {
            guard let address = IPAddress(text) else {
                return self.refuse(id, "'\(text.prefix(64))' is not an IP address")
            }
            if address.isLoopback || address.isUnspecified || address.isMulticast {
                return self.refuse(id, "\(address) cannot be the address of a workload")
            }
            if let range = self.virtualPrefixes.first(where: { $0.contains(address) }) {
                return self.refuse(id, "\(address) is in \(range), the range of services")
            }
            if !addresses.contains(address) { addresses.append(address) }
        }
        guard (1...Self.maximumAddresses).contains(addresses.count) else {
            return self.refuse(id, "a workload has 1 to \(Self.maximumAddresses) addresses, not \(addresses.count)")
        }
        guard registration.weight <= Self.maximumWeight else {
            return self.refuse(id, "the weight \(registration.weight) is more than \(Self.maximumWeight)")
        }
        let ports = registration.ports.compactMap { UInt16(exactly: $0) }
        guard ports.count == registration.ports.count, !ports.contains(0) else {
            return self.refuse(id, "a listening port is from 1 to 65535")
        }
        guard ports.count <= Self.maximumPorts else {
            return self.refuse(id, "it listens on \(ports.count) ports, more than \(Self.maximumPorts)")
        }
        self.workloads.append(
            WorkloadRecord(
                id: id, node: node,
                serviceAccount: registration.serviceAccount.isEmpty ? "default" : registration.serviceAccount,
                labels: registration.labels, addresses: addresses, isHostNetwork: registration.hostNetwork,
                ports: Set(ports).sorted(),
                weight: max(1, registration.weight)))
    }

    private mutating func refuse(_ id: WorkloadID, _ reason: String) {
        self.refusals.append(.init(id: id, reason: reason))
    }

    private static func nameFault(_ registration: Nodemesh_V1_WorkloadRegistration) -> String? {
        if let fault = NameRules.label(registration.namespace) { return "namespace: \(fault)" }
        if let fault = NameRules.label(registration.name) { return "name: \(fault)" }
        if !registration.serviceAccount.isEmpty, let fault = NameRules.subdomain(registration.serviceAccount) {
            return "service account: \(fault)"
        }
        guard registration.labels.count <= Self.maximumLabels else {
            return "labels: more than \(Self.maximumLabels)"
        }
        for (key, value) in registration.labels.sorted(by: { $0.key < $1.key }) {
            if let fault = NameRules.labelKey(key) ?? NameRules.labelValue(value) { return "labels: \(fault)" }
        }
        return nil
    }
}

extension IPAddress {
    var isMulticast: Bool {
        if let value = self.ipv4 { return value >> 28 == 0xe || value == .max }
        return self.high >> 56 == 0xff
    }
}
