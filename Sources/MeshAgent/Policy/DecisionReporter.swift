// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshAPI
import MeshModel
import SwiftProtobuf

/// Tells the control plane of recent connections, as long as a session lasts.
struct DecisionReporter: Sendable {
    private static let interval = Duration.seconds(10)
    private static let maximumInterval = Duration.seconds(300)

    let log: DecisionLog
    let clock: any AgentClock
    let logger: Logger

    /// Returns only when it is cancelled: what goes wrong here is no reason to end a session.
    func run(_ session: any ControlPlaneSession) async {
        var interval = Self.interval
        var backoff = Backoff(initial: Self.interval, maximum: Self.maximumInterval)
        while !Task.isCancelled {
            do { try await self.clock.sleep(for: interval) } catch { return }
            do {
                interval = try await self.send(session) ?? Self.interval
                backoff.reset()
            } catch {
                interval = backoff.next(jitter: self.clock.jitter())
                self.logger.debug(
                    "the control plane was not told of recent connections", metadata: ["error": "\(error)"])
            }
        }
    }

    /// - Returns: when the control plane wants the next one, if it said so.
    private func send(_ session: any ControlPlaneSession) async throws(ControlPlaneError) -> Duration? {
        var interval: Duration?
        while let report = self.log.next() {
            interval = try await session.report(report, run: self.log.run)
            if !self.log.arrived(report) { break }
        }
        return interval.map { min(max($0, .seconds(1)), Self.maximumInterval) }
    }
}

extension Nodemesh_V1_ReportConnectionsRequest {
    /// - Parameter now: seconds since the Unix epoch.
    init(_ report: DecisionLog.Report, run: UInt64, now: Int64) {
        self.init()
        self.run = run
        self.sequence = report.sequence
        self.dropped = report.dropped
        self.connections = report.connections.map { connection, tally in
            .with {
                $0.sourceIdentity = connection.sourceIdentity?.description ?? ""
                $0.sourceNamespace = connection.source?.namespace ?? ""
                $0.sourceName = connection.source?.name ?? ""
                $0.sourceAddress = .init(connection.sourceIP.bytes)
                $0.destinationNamespace = connection.workload.namespace
                $0.destinationName = connection.workload.name
                $0.destinationAddress = .init(connection.destination.ip.bytes)
                $0.port = UInt32(connection.destination.port)
                $0.denied = connection.isDenied
                $0.count = tally.count
                $0.firstAgeSeconds = UInt32(clamping: now - tally.first)
                $0.lastAgeSeconds = UInt32(clamping: now - tally.last)
            }
        }
    }
}
