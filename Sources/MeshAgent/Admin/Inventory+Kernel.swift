// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import MeshSteering

extension Inventory {
    func bpf() async -> BPFSummary { BPFSummary(programs: [], links: [], maps: []) }

    func uncaptured() async -> [UncapturedConnection] { [] }
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
            .inboundProbe, .inboundUnowned, .sockmapJoined, .eventLost:
            false
        }
    }
}
