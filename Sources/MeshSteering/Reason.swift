// SPDX-License-Identifier: Apache-2.0

/// What the eBPF programs count: `enum nm_reason` of `nodemesh_abi.h`, number by number. Append only.
package enum Reason: UInt32, CaseIterable, Sendable {
    case captured = 0
    case selfBypassed
    case outboundFailedOpen
    case capturePortRefused
    case inactiveRefused
    case ipv6Refused
    case storageRefused
    case deviceRefused
    case originLost
    case originDelivered
    case originMissing
    case clientDelivered
    case clientLost
    case proxyConnect
    case proxyConnectLost
    case inboundSteered
    case inboundLocal
    case inboundProxy
    case inboundRefused
    case inboundFailedOpen
    case inboundFamilyRefused
    case outboundExcluded
    case inboundExcluded
    case direct
    case directStale
    case directFull
    case directLost
    case inboundDirect
    case inboundProbe
    case unenrolledRefused
    case portLost
    case inboundUnowned
    case sockmapJoined
    case sockmapStalled
    case eventLost
    case dnsCaptured
    case dnsFailedOpen
    case dnsLeft
    case dnsResolverLost

    /// The word in metrics and in `nodemeshctl`: `capture_port_refused`.
    package var name: String {
        switch self {
        case .captured: "captured"
        case .selfBypassed: "self_bypassed"
        case .outboundFailedOpen: "outbound_failed_open"
        case .capturePortRefused: "capture_port_refused"
        case .inactiveRefused: "inactive_refused"
        case .ipv6Refused: "ipv6_refused"
        case .storageRefused: "storage_refused"
        case .deviceRefused: "device_refused"
        case .originLost: "origin_lost"
        case .originDelivered: "origin_delivered"
        case .originMissing: "origin_missing"
        case .clientDelivered: "client_delivered"
        case .clientLost: "client_lost"
        case .proxyConnect: "proxy_connect"
        case .proxyConnectLost: "proxy_connect_lost"
        case .inboundSteered: "inbound_steered"
        case .inboundLocal: "inbound_local"
        case .inboundProxy: "inbound_proxy"
        case .inboundRefused: "inbound_refused"
        case .inboundFailedOpen: "inbound_failed_open"
        case .inboundFamilyRefused: "inbound_family_refused"
        case .outboundExcluded: "outbound_excluded"
        case .inboundExcluded: "inbound_excluded"
        case .direct: "direct"
        case .directStale: "direct_stale"
        case .directFull: "direct_full"
        case .directLost: "direct_lost"
        case .inboundDirect: "inbound_direct"
        case .inboundProbe: "inbound_probe"
        case .unenrolledRefused: "unenrolled_refused"
        case .portLost: "port_lost"
        case .inboundUnowned: "inbound_unowned"
        case .sockmapJoined: "sockmap_joined"
        case .sockmapStalled: "sockmap_stalled"
        case .eventLost: "event_lost"
        case .dnsCaptured: "dns_captured"
        case .dnsFailedOpen: "dns_failed_open"
        case .dnsLeft: "dns_left"
        case .dnsResolverLost: "dns_resolver_lost"
        }
    }
}
