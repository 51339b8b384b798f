// SPDX-License-Identifier: Apache-2.0

import GRPCCore
import MeshAPI
import MeshModel

/// Checks what a node reports of recent connections.
enum ReportReader {
    /// The most different ones that one report may hold.
    static let maximum = 4096

    /// - Parameter now: seconds since the Unix epoch.
    /// - Throws: an `RPCError`; nothing of such a report counts.
    static func read(
        _ request: Nodemesh_V1_ReportConnectionsRequest, now: Int64
    ) throws(RPCError) -> [DecidedConnection: DecidedTally] {
        guard request.connections.count <= Self.maximum else {
            throw RPCError(
                code: .invalidArgument, message: "a report holds at most \(Self.maximum) different connections")
        }
        var result: [DecidedConnection: DecidedTally] = [:]
        for message in request.connections {
            guard let connection = DecidedConnection(message) else {
                throw RPCError(code: .invalidArgument, message: "a reported connection has no valid names or addresses")
            }
            let tally = DecidedTally(
                count: message.count, first: now - Int64(message.firstAgeSeconds),
                last: now - Int64(message.lastAgeSeconds))
            result[connection, default: DecidedTally(count: 0, first: tally.first, last: tally.last)].add(tally)
        }
        return result
    }
}

extension DecidedConnection {
    fileprivate init?(_ message: Nodemesh_V1_RecentConnections) {
        guard let source = IPAddress(bytes: message.sourceAddress),
            let destination = IPAddress(bytes: message.destinationAddress), let port = UInt16(exactly: message.port),
            SPIFFEID.isValidSegment(message.destinationNamespace), SPIFFEID.isValidSegment(message.destinationName)
        else { return nil }
        let identity = SPIFFEID(message.sourceIdentity)
        if identity == nil, !message.sourceIdentity.isEmpty { return nil }
        let isNamed = SPIFFEID.isValidSegment(message.sourceNamespace) && SPIFFEID.isValidSegment(message.sourceName)
        if !isNamed, !(message.sourceNamespace.isEmpty && message.sourceName.isEmpty) { return nil }
        self.init(
            source: isNamed ? WorkloadID(namespace: message.sourceNamespace, name: message.sourceName) : nil,
            sourceIdentity: identity, sourceIP: source,
            workload: WorkloadID(namespace: message.destinationNamespace, name: message.destinationName),
            destination: SocketAddress(ip: destination, port: port), isDenied: message.denied)
    }
}
