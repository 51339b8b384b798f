// SPDX-License-Identifier: Apache-2.0

internal import MeshModel

/// The series in which connections of one kind count: of one source, destination, service and so on.
///
/// `@unchecked`: the dictionaries are used under the lock of ``ConnectionMetrics`` only.
final class TrafficSeries: @unchecked Sendable {
    /// What connections have to have in common.
    struct Key: Hashable {
        var direction: ConnectionDirection
        var source: WorkloadID?
        var sourceIdentity: SPIFFEID?
        var destination: WorkloadID?
        var destinationIdentity: SPIFFEID?
        var service: NamespacedName?
        /// The accepting node finds the service by it.
        var port: UInt16
        var wire: Wire

        init(_ record: ConnectionRecord) {
            self.direction = record.direction
            self.source = record.source
            self.sourceIdentity = record.sourceIdentity
            self.destination = record.destinationWorkload
            self.destinationIdentity = record.destinationIdentity
            self.service = record.service
            self.port = record.service == nil && record.destinationWorkload != nil ? record.destination.port : 0
            self.wire = record.wire
        }
    }

    /// As seen from one end.
    struct Report {
        var reporter: String
        var opened: Counter
        var sent: Counter
        var received: Counter
        var closed: [ResponseFlags: Counter] = [:]
    }

    let labels: TrafficLabels
    var reports: [Report]
    /// The values of ``ConnectionMetrics/labels``.
    let own: [String]
    var closed: [CloseReason: Counter] = [:]
    /// The values of ``ConnectionMetrics/pathLabels``.
    let path: [String]
    var health: HealthSeries?

    /// How the way to the peer is.
    struct HealthSeries {
        var roundTripTime: Gauge
        var sent: Counter
        var retransmitted: Counter
    }

    init(labels: TrafficLabels, reports: [Report], own: [String], path: [String]) {
        self.labels = labels
        self.reports = reports
        self.own = own
        self.path = path
    }
}
