// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAPI
import MeshModel
import SwiftProtobuf
import Testing

@testable import MeshTraces

@Suite struct ConnectionSpanTests {
    private static let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    /// What the dialling node, or the accepting one, knows of one connection.
    static func record(_ direction: ConnectionDirection) throws -> ConnectionRecord {
        var record = ConnectionRecord(
            id: 4, direction: direction, sourceAddress: try #require(SocketAddress("10.0.0.1:40000")),
            destination: try #require(SocketAddress("240.240.0.1:80")), wire: .splice,
            openedAt: 1_700_000_000_000_000_000)
        record.trace = TraceContext(Self.trace)
        record.service = NamespacedName(namespace: "shop", name: "backend")
        record.sourceIdentity = SPIFFEID("spiffe://mesh.internal/ns/shop/sa/web")
        record.destinationIdentity = SPIFFEID("spiffe://mesh.internal/ns/shop/sa/backend")
        record.upstream = SocketAddress("172.16.0.2:15008")
        record.duration = 5_000_000
        record.bytesSent = 10
        record.bytesReceived = 20
        record.reason = .completed
        record.phases[.tls] = 900
        record.phases[.firstByteReceived] = 3_000
        return record
    }

    private func attributes(_ span: Nodemesh_Otlp_V1_Span) -> [String: String] {
        Dictionary(
            uniqueKeysWithValues: span.attributes.map { attribute in
                switch attribute.value.value {
                case .stringValue(let text): (attribute.key, text)
                case .intValue(let number): (attribute.key, "\(number)")
                default: (attribute.key, "?")
                }
            })
    }

    @Test func bothNodesMakeSpansOfOneTrace() throws {
        let client = ConnectionSpan.make(try Self.record(.outbound))
        let server = ConnectionSpan.make(try Self.record(.inbound))
        #expect(client.traceID.map { $0 } == TraceContext(Self.trace)?.traceID)
        #expect(client.traceID == server.traceID)
        #expect(client.traceID.count == 16 && client.spanID.count == 8 && server.spanID.count == 8)
        #expect(client.parentSpanID.isEmpty)
        #expect(server.parentSpanID == client.spanID)
        #expect(server.spanID != client.spanID)
        #expect(client.kind == .client && server.kind == .server)
        #expect(client.startTimeUnixNano == 1_700_000_000_000_000_000)
        #expect(client.endTimeUnixNano == 1_700_000_000_005_000_000)
        #expect(client.name == "tcp shop/backend")
        #expect(!client.hasStatus)
        #expect(client.events.map(\.name) == ["first byte received"])
        #expect(client.events.first?.timeUnixNano == 1_700_000_000_003_000_000)
    }

    @Test func whatIsKnownIsInTheAttributes() throws {
        let attributes = self.attributes(ConnectionSpan.make(try Self.record(.outbound)))
        for (key, value) in [
            "network.transport": "tcp", "network.type": "ipv4", "client.address": "10.0.0.1", "client.port": "40000",
            "server.address": "backend.shop.mesh.internal", "server.port": "80",
            "network.peer.address": "172.16.0.2", "network.peer.port": "15008", "nodemesh.wire": "splice",
            "nodemesh.source.identity": "spiffe://mesh.internal/ns/shop/sa/web",
            "nodemesh.close.reason": "completed", "nodemesh.bytes.sent": "10", "nodemesh.bytes.received": "20",
            "nodemesh.phase.tls_us": "900",
        ] { #expect(attributes[key] == value, "\(key)") }
        #expect(attributes["error.type"] == nil)
        #expect(attributes["nodemesh.policy"] == nil)
    }

    @Test func whatEndedBadlyIsAnError() throws {
        var record = try Self.record(.outbound)
        record.reason = .policyDenied
        record.detail = "policy shop/deny denies it"
        let span = ConnectionSpan.make(record)
        #expect(span.status.code == .error)
        #expect(span.status.message == "policy shop/deny denies it")
        #expect(self.attributes(span)["error.type"] == "policy_denied")
    }

    @Test func withoutATraceparentEachSpanIsATraceOfItsOwn() throws {
        var record = try Self.record(.inbound)
        record.trace = nil
        let (one, other) = (ConnectionSpan.make(record), ConnectionSpan.make(record))
        #expect(one.traceID != other.traceID)
        #expect(one.parentSpanID.isEmpty)
    }

    /// Field numbers and types are the interface: these are the bytes of opentelemetry-proto.
    @Test func theBytesAreThoseOfOpenTelemetry() throws {
        let span = Nodemesh_Otlp_V1_Span.with {
            $0.traceID = Data([1])
            $0.spanID = Data([2])
            $0.parentSpanID = Data([3])
            $0.name = "n"
            $0.kind = .client
            $0.startTimeUnixNano = 4
            $0.endTimeUnixNano = 5
            $0.flags = 1
            $0.status = .with { $0.code = .error }
            $0.attributes = [
                .with {
                    $0.key = "k"
                    $0.value.intValue = 6
                }
            ]
        }
        let bytes: [UInt8] = try span.serializedBytes()
        #expect(
            bytes == [0x0a, 1, 1, 0x12, 1, 2, 0x22, 1, 3, 0x2a, 1, 0x6e, 0x30, 3]
                + [0x39, 4, 0, 0, 0, 0, 0, 0, 0] + [0x41, 5, 0, 0, 0, 0, 0, 0, 0]
                + [0x4a, 7, 0x0a, 1, 0x6b, 0x12, 2, 0x18, 6] + [0x7a, 2, 0x18, 2] + [0x85, 1, 1, 0, 0, 0])
    }

    @Test func theResourceNamesTheNode() throws {
        let request = ConnectionSpan.request([try Self.record(.outbound), try Self.record(.outbound)], node: "n7")
        let group = try #require(request.resourceSpans.first)
        #expect(request.resourceSpans.count == 1)
        #expect(group.resource.attributes.contains { $0.key == "service.name" && $0.value.stringValue == "nodemeshd" })
        #expect(group.resource.attributes.contains { $0.key == "host.name" && $0.value.stringValue == "n7" })
        #expect(group.scopeSpans.first?.spans.count == 2)
    }
}
