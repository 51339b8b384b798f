// SPDX-License-Identifier: Apache-2.0

import MeshModel
import MeshProxy
import MeshSteering
import MeshTelemetry

/// Everything the daemon counts, and the access log.
package final class ConnectionTelemetry: Sendable {
    package let registry = MetricsRegistry()
    package let accessLog: AccessLog?
    private let connections: ConnectionMetrics

    /// - Parameter accessLog: a path, `-` for standard output, nil for none.
    package init(accessLog: String?) throws(AccessLogError) {
        self.connections = ConnectionMetrics(registry: self.registry)
        self.accessLog =
            if let accessLog {
                try AccessLog(target: accessLog == "-" ? .standardOutput : .file(accessLog), registry: self.registry)
            } else {
                nil
            }
    }

    package func opened(_ record: ConnectionRecord) { self.connections.opened(record) }

    /// Opened in an earlier run.
    package func resumed(_ record: ConnectionRecord) { self.connections.resumed(record) }

    package func closed(_ record: ConnectionRecord) {
        self.connections.closed(record)
        self.accessLog?.write(record)
    }

    /// The bytes that open connections have carried so far.
    package func progress(_ records: [ConnectionRecord]) {
        for record in records {
            self.connections.progress(id: record.id, sent: record.bytesSent, received: record.bytesReceived)
        }
    }

    package func watch(_ steering: Steering) {
        self.registry.collect(
            "nodemesh_steering_decisions_total", .counter,
            help: "Decisions of the eBPF programs, by reason, since their maps were made.", labels: ["reason"]
        ) {
            steering.counters().map { ([$0.key], Double($0.value)) }
        }
    }

    package func describe(node: String, loops: Int) {
        self.registry.gauge(
            "nodemesh_build_info", help: "Always 1; the labels say what runs.", labels: ["version", "node"]
        ).with([Version.text, node]).set(1)
        self.registry.gauge("nodemesh_event_loops", help: "Event loops of the data plane.").with().set(Double(loops))
    }
}
