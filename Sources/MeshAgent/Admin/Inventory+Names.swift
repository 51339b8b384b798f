// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import MeshConfiguration
import MeshDNS
import MeshModel

extension Inventory {
    func names() async -> DNSStatus {
        if let nameService = self.nameService { return await nameService.status(self.settings) }
        return DNSStatus(
            isOn: false, domain: self.settings.dnsDomain, aliases: self.settings.dnsAliases, upstreams: [], down: [],
            cacheEntries: 0, cacheCapacity: self.settings.dnsCacheSize, waiting: 0, workloads: [])
    }

    func lookup(
        name: String, type: String?, workload: String?, resolver: String?
    ) async throws(ErrorResponse) -> DNSLookup {
        guard let nameService = self.nameService else {
            throw ErrorResponse(error: "names are not answered on this node: its configuration says dns: off")
        }
        guard let parsed = DNSName(name) else {
            throw ErrorResponse(error: "'\(name)' is not a name of letters, digits, '-', '_' and dots")
        }
        guard let kind = RecordType(type ?? "A") else {
            throw ErrorResponse(error: "'\(type ?? "")' is not a type of record, such as A, AAAA, PTR or TYPE65")
        }
        guard workload == nil || WorkloadID(workload ?? "") != nil else {
            throw ErrorResponse(error: "'\(workload ?? "")' is not NAMESPACE/NAME of a workload")
        }
        let id = workload.flatMap { WorkloadID($0) }
        if let id, !nameService.isKnown(id) {
            throw ErrorResponse(
                error:
                    "workload \(id) is not enrolled on this node with its names answered; see 'nodemeshctl dns status'")
        }
        guard resolver == nil || IPAddress(resolver ?? "") != nil else {
            throw ErrorResponse(error: "'\(resolver ?? "")' is not an IP address")
        }
        let address = resolver.flatMap { IPAddress($0) }
        if address != nil, id == nil {
            throw ErrorResponse(error: "a resolver is asked from a workload's namespace: name the workload too")
        }
        guard let found = await nameService.lookup(parsed, kind, for: id, resolver: address) else {
            throw ErrorResponse(error: "nodemeshd is stopping")
        }
        return found
    }
}
