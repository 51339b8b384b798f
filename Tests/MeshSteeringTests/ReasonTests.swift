// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import Testing

@testable import MeshSteering

struct ReasonTests {
    @Test func everyReasonOfTheHeaderHasItsNumber() {
        let header: [Reason: nm_reason] = [
            .captured: NM_REASON_CAPTURED, .selfBypassed: NM_REASON_SELF_BYPASSED,
            .outboundFailedOpen: NM_REASON_OUTBOUND_FAILED_OPEN,
            .capturePortRefused: NM_REASON_CAPTURE_PORT_REFUSED, .inactiveRefused: NM_REASON_INACTIVE_REFUSED,
            .ipv6Refused: NM_REASON_IPV6_REFUSED, .storageRefused: NM_REASON_STORAGE_REFUSED,
            .deviceRefused: NM_REASON_DEVICE_REFUSED, .originLost: NM_REASON_ORIGIN_LOST,
            .originDelivered: NM_REASON_ORIGIN_DELIVERED, .originMissing: NM_REASON_ORIGIN_MISSING,
            .clientDelivered: NM_REASON_CLIENT_DELIVERED, .clientLost: NM_REASON_CLIENT_LOST,
            .proxyConnect: NM_REASON_PROXY_CONNECT, .proxyConnectLost: NM_REASON_PROXY_CONNECT_LOST,
            .inboundSteered: NM_REASON_INBOUND_STEERED, .inboundLocal: NM_REASON_INBOUND_LOCAL,
            .inboundProxy: NM_REASON_INBOUND_PROXY, .inboundRefused: NM_REASON_INBOUND_REFUSED,
            .inboundFailedOpen: NM_REASON_INBOUND_FAILED_OPEN,
            .inboundFamilyRefused: NM_REASON_INBOUND_FAMILY_REFUSED,
            .outboundExcluded: NM_REASON_OUTBOUND_EXCLUDED, .inboundExcluded: NM_REASON_INBOUND_EXCLUDED,
            .direct: NM_REASON_DIRECT, .directStale: NM_REASON_DIRECT_STALE, .directFull: NM_REASON_DIRECT_FULL,
            .directLost: NM_REASON_DIRECT_LOST, .inboundDirect: NM_REASON_INBOUND_DIRECT,
            .inboundProbe: NM_REASON_INBOUND_PROBE, .unenrolledRefused: NM_REASON_UNENROLLED_REFUSED,
            .portLost: NM_REASON_PORT_LOST, .inboundUnowned: NM_REASON_INBOUND_UNOWNED,
            .sockmapJoined: NM_REASON_SOCKMAP_JOINED, .sockmapStalled: NM_REASON_SOCKMAP_STALLED,
            .eventLost: NM_REASON_EVENT_LOST, .dnsCaptured: NM_REASON_DNS_CAPTURED,
            .dnsFailedOpen: NM_REASON_DNS_FAILED_OPEN, .dnsLeft: NM_REASON_DNS_LEFT,
            .dnsResolverLost: NM_REASON_DNS_RESOLVER_LOST,
        ]
        #expect(header.count == Reason.allCases.count)
        #expect(Reason.allCases.count == Int(NM_REASON_COUNT.rawValue))
        for (reason, code) in header { #expect(reason.rawValue == code.rawValue, "\(reason)") }
    }

    @Test func namesAreDistinctMetricWords() {
        let names = Reason.allCases.map(\.name)
        #expect(Set(names).count == names.count)
        #expect(
            names.allSatisfy { $0.utf8.allSatisfy { byte in byte == UInt8(ascii: "_") || (48...122).contains(byte) } })
    }
}
