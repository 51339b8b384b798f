// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAPI
import MeshModel
import SwiftProtobuf

/// A connection as a span. The node that dialled makes the client's span, under the ids of the `traceparent` that went
/// with the CONNECT; the node that accepted makes the server's, its child.
enum ConnectionSpan {
    typealias Span = Nodemesh_Otlp_V1_Span
    typealias Attribute = Nodemesh_Otlp_V1_KeyValue

    static func make(_ record: ConnectionRecord) -> Span {
        let trace = record.trace ?? .random(isSampled: true)
        let isServer = record.direction == .inbound
        return Span.with { span in
            span.traceID = Data(trace.traceID)
            // The peer's span is known from its traceparent only: without one this is the trace's first.
            if isServer, record.trace != nil {
                span.parentSpanID = Data(trace.spanID)
                span.spanID = Data(TraceContext.random().spanID)
            } else {
                span.spanID = Data(trace.spanID)
            }
            span.flags = 1
            span.kind = isServer ? .server : .client
            span.name = "tcp \(Self.target(record))"
            span.startTimeUnixNano = record.openedAt
            let end = record.openedAt.addingReportingOverflow(record.duration)
            span.endTimeUnixNano = end.overflow ? record.openedAt : end.partialValue
            span.attributes = Self.attributes(record)
            span.events = [
                (ConnectionPhase.setup, "relaying"), (.firstByteSent, "first byte sent"),
                (.firstByteReceived, "first byte received"),
            ].compactMap { phase, name in
                record.phases[phase].map { microseconds in
                    .with {
                        $0.name = name
                        $0.timeUnixNano = record.openedAt + UInt64(microseconds) * 1000
                    }
                }
            }
            if let reason = record.reason, reason != .completed {
                span.status = .with {
                    $0.code = .error
                    $0.message = record.detail ?? reason.rawValue
                }
            }
        }
    }

    /// Few, so that spans can be grouped by it.
    private static func target(_ record: ConnectionRecord) -> String {
        record.service?.description ?? record.destinationWorkload?.description ?? "unknown"
    }

    private static func attributes(_ record: ConnectionRecord) -> [Attribute] {
        var list: [Attribute] = []
        func add(_ key: String, _ value: String?) {
            guard let value else { return }
            list.append(
                .with {
                    $0.key = key
                    $0.value.stringValue = value
                })
        }
        func add(_ key: String, _ value: UInt64) {
            list.append(
                .with {
                    $0.key = key
                    $0.value.intValue = Int64(clamping: value)
                })
        }
        // OpenTelemetry's semantic conventions for networks.
        add("network.transport", "tcp")
        add("network.type", record.destination.ip.isIPv4 ? "ipv4" : "ipv6")
        add("client.address", record.sourceAddress.ip.description)
        add("client.port", UInt64(record.sourceAddress.port))
        add(
            "server.address",
            record.service.map { "\($0.name).\($0.namespace).mesh.internal" } ?? record.destination.ip.description)
        add("server.port", UInt64(record.destination.port))
        if let upstream = record.upstream {
            add("network.peer.address", upstream.ip.description)
            add("network.peer.port", UInt64(upstream.port))
        }
        if let reason = record.reason, reason != .completed { add("error.type", reason.rawValue) }
        // Ours.
        add("nodemesh.connection", record.id)
        add("nodemesh.wire", record.wire.rawValue)
        add("nodemesh.engine", record.engine?.rawValue)
        add("nodemesh.source.workload", record.source?.description)
        add("nodemesh.source.identity", record.sourceIdentity?.description)
        add("nodemesh.destination.workload", record.destinationWorkload?.description)
        add("nodemesh.destination.identity", record.destinationIdentity?.description)
        add("nodemesh.policy", record.policy?.description)
        add("nodemesh.close.reason", record.reason?.rawValue)
        add("nodemesh.bytes.sent", record.bytesSent)
        add("nodemesh.bytes.received", record.bytesReceived)
        for (phase, microseconds) in record.phases.reached {
            add("nodemesh.phase.\(phase.rawValue)_us", UInt64(microseconds))
        }
        return list
    }

    /// - Parameter node: who tells.
    static func request(_ records: [ConnectionRecord], node: String) -> Nodemesh_Otlp_V1_ExportTraceServiceRequest {
        .with { request in
            request.resourceSpans = [
                .with { group in
                    group.resource.attributes = [
                        ("service.name", "nodemeshd"), ("service.namespace", "nodemesh"),
                        ("service.version", Version.text), ("service.instance.id", node), ("host.name", node),
                    ].map { key, value in
                        .with {
                            $0.key = key
                            $0.value.stringValue = value
                        }
                    }
                    group.scopeSpans = [
                        .with {
                            $0.scope.name = "nodemesh"
                            $0.scope.version = Version.text
                            $0.spans = records.map(Self.make)
                        }
                    ]
                }
            ]
        }
    }
}
