// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import MeshModel

/// The connections of a node's access log about which its policies decided, those that are alike counted together.
struct RecordedLog {
    /// Different ones that are taken; the rest is counted.
    private static let limit = 100_000
    private static let chunk = 1 << 20

    private struct Line: Decodable {
        var timestamp: String?
        var sourceAddress: String?
        var sourceName: String?
        var sourceNamespace: String?
        var sourceIdentity: String?
        var workload: String?
        var namespace: String?
        var upstream: String?
        var reason: String?

        private enum CodingKeys: String, CodingKey {
            case timestamp
            case sourceAddress = "src.addr"
            case sourceName = "src.workload"
            case sourceNamespace = "src.namespace"
            case sourceIdentity = "src.identity"
            case workload = "dst.workload"
            case namespace = "dst.namespace"
            case upstream = "dst.upstream"
            case reason = "policy_reason"
        }
    }

    private struct Key: Hashable {
        var source: String?
        var identity: String?
        var address: String
        var workload: String
        var destination: String
        var isDenied: Bool
    }

    private var found: [Key: (count: UInt64, first: Date, last: Date)] = [:]
    /// Lines that are none of an access log, lines about which this node decided nothing, and what there was no room for.
    private var unreadable = 0
    private var undecided = 0
    private var dropped = 0

    mutating func read(_ path: String) throws(CLIError) {
        do {
            let handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
            defer { try? handle.close() }
            var rest = Data()
            while let data = try handle.read(upToCount: Self.chunk), !data.isEmpty {
                var lines = (rest + data).split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
                rest = lines.popLast().map { Data($0) } ?? Data()
                if rest.count > 64 * Self.chunk {
                    throw CLIError("\(path): has a line of more than 64 MiB; it is not an access log")
                }
                for line in lines where !line.isEmpty { self.take(Data(line)) }
            }
            if !rest.isEmpty { self.take(rest) }
        } catch let error as CLIError {
            throw error
        } catch {
            throw CLIError("\(path): cannot read: \(error.localizedDescription)")
        }
        if self.found.isEmpty {
            throw CLIError(
                "\(path): holds no connection about which policies decided",
                hints: ["Take the access log of a node that runs destinations; its lines have the field policy_reason."]
            )
        }
    }

    private mutating func take(_ data: Data) {
        guard let line = try? JSONDecoder().decode(Line.self, from: data), let text = line.timestamp,
            let time = try? Date(text, strategy: .iso8601.year().month().day().time(includingFractionalSeconds: true))
        else {
            self.unreadable += 1
            return
        }
        guard let reason = PolicyDecision.Reason.allCases.first(where: { $0.word == line.reason }),
            let name = line.workload, let namespace = line.namespace, let destination = line.upstream,
            let address = line.sourceAddress.flatMap({ SocketAddress($0) })
        else {
            self.undecided += 1
            return
        }
        let source = line.sourceName.flatMap { name in line.sourceNamespace.map { "\($0)/\(name)" } }
        let key = Key(
            source: source, identity: line.sourceIdentity, address: address.ip.description,
            workload: "\(namespace)/\(name)", destination: destination, isDenied: !reason.isAllowed)
        if self.found[key] == nil, self.found.count >= Self.limit {
            self.dropped += 1
            return
        }
        let known = self.found[key] ?? (0, time, time)
        self.found[key] = (known.count + 1, min(known.first, time), max(known.last, time))
    }

    var connections: [RecordedConnection] {
        self.found.map { key, figures in
            RecordedConnection(
                source: key.source, sourceIdentity: key.identity, sourceAddress: key.address, workload: key.workload,
                destination: key.destination, isDenied: key.isDenied, count: figures.count, firstSeen: figures.first,
                lastSeen: figures.last)
        }
    }

    var notes: [String] {
        var notes: [String] = []
        if self.unreadable > 0 {
            notes.append("\(self.unreadable) lines are not of an access log, and were passed over.")
        }
        if self.undecided > 0 {
            notes.append("\(self.undecided) connections were decided elsewhere or by no policy, and were passed over.")
        }
        if self.dropped > 0 { notes.append("\(self.dropped) connections were not tested: too many different ones.") }
        return notes
    }
}
