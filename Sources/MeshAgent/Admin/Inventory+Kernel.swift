// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import MeshConfiguration
import MeshModel
import MeshSteering

extension Inventory {
    func bpf() async throws(ErrorResponse) -> BPFSummary {
        let status: BPFStatus
        do throws(SteeringError) {
            status = try self.steering.status()
        } catch {
            throw ErrorResponse(error: "\(error)")
        }
        return BPFSummary(
            programs: status.programs.map { program in
                .init(
                    name: program.name, id: program.id, tag: program.tag, hook: program.hook,
                    jitedBytes: program.jitedSize,
                    verifiedInstructions: program.verifiedInstructions > 0 ? program.verifiedInstructions : nil,
                    runs: program.runCount > 0 ? program.runCount : nil,
                    runNanoseconds: program.runCount > 0 ? program.runNanoseconds : nil,
                    loadedAt: Date(timeIntervalSince1970: Double(program.loadedAt) / 1e9))
            },
            links: status.links.map { link in
                .init(
                    pin: link.pin, hook: link.hook, target: link.target, program: link.programID,
                    isAttached: link.isAttached)
            },
            maps: status.maps.map { map in
                .init(
                    name: map.name, type: map.type, id: map.id, entries: map.entries, capacity: Int(map.capacity),
                    memoryBytes: map.memoryBytes)
            })
    }

    /// The enrolled workloads with all that is excluded for them.
    func owners() async -> [NamespaceSockets.Owner] {
        let configuration = self.reloader.configuration
        return await self.registry.all.map { entry in
            NamespaceSockets.Owner(
                entry, excludedPrefixes: configuration.excludePrefixes, outbound: configuration.excludePorts,
                inbound: configuration.excludeInboundPorts)
        }
    }

    func uncaptured() async -> [UncapturedConnection] {
        let prefixes = await self.views.snapshot?.settings.prefixes ?? []
        let direct = Set(((try? self.steering.directFlows()) ?? []).map { [$0.client, $0.server] })
        return await self.sockets.uncaptured(await self.owners(), prefixes: prefixes, direct: direct)
    }
}

extension Reason {
    /// The words for connections that were refused or lost.
    static let refusals = Set(Self.allCases.filter(\.isRefusal).map(\.name))

    /// Whether a connection did not come about.
    var isRefusal: Bool {
        switch self {
        case .capturePortRefused, .inactiveRefused, .ipv6Refused, .storageRefused, .deviceRefused, .originLost,
            .originMissing, .inboundRefused, .inboundFamilyRefused, .unenrolledRefused, .portLost, .sockmapStalled:
            true
        case .captured, .selfBypassed, .outboundFailedOpen, .originDelivered, .clientDelivered, .clientLost,
            .proxyConnect, .proxyConnectLost, .inboundSteered, .inboundLocal, .inboundProxy, .inboundFailedOpen,
            .outboundExcluded, .inboundExcluded, .direct, .directStale, .directFull, .directLost, .inboundDirect,
            .inboundProbe, .inboundUnowned, .sockmapJoined, .eventLost, .dnsCaptured, .dnsFailedOpen, .dnsLeft,
            .dnsResolverLost:
            false
        }
    }
}
