// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshLinux
import MeshModel
import MeshSteering

/// Packets of direct connections that skip the host's side of veth pairs.
extension LocalPath {
    /// Attaches the program to the veths of new workloads and takes it from those of workloads that are gone.
    func updateRedirects() {
        guard self.redirects else { return }
        for (id, ways) in self.redirected where self.locals[id] == nil {
            self.redirected[id] = nil
            for way in ways { self.removeRedirect(way) }
        }
        for (id, local) in self.locals where self.redirected[id] == nil {
            self.redirected[id] = local.end.addresses.compactMap { self.addRedirect($0, local) }
        }
    }

    private func addRedirect(_ address: IPAddress, _ local: Local) -> (address: IPAddress, interface: UInt32)? {
        // Workloads of other topologies, and those that share the host's interfaces, do without.
        guard let pair = VethPair.carrying(address: address.bytes, in: local.namespace) else { return nil }
        do throws(SteeringError) {
            try self.steering.attachRedirect(interface: pair.host)
            try self.steering.setLocal(
                address,
                LocalAddress(
                    namespaceCookie: local.end.namespaceCookie, key: local.end.key, interface: pair.host,
                    insideMAC: pair.insideMAC, hostMAC: pair.hostMAC))
            return (address, pair.host)
        } catch {
            self.logger.warning(
                "packets of a workload take the host's way",
                metadata: ["workload.id": "\(local.end.id)", "reason": "\(error)"])
            return nil
        }
    }

    private func removeRedirect(_ way: (address: IPAddress, interface: UInt32)) {
        do throws(SteeringError) {
            try self.steering.setLocal(way.address, nil)
        } catch {
            self.logger.error("an address stays in the kernel's map", metadata: ["reason": "\(error)"])
        }
        self.steering.detachRedirect(interface: way.interface)
    }
}
