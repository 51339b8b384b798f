// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import Testing

/// What must hold in any order of events, tried in random ones. See Resources/interleaving.yaml.
///
/// `NODEMESH_INTERLEAVING_SEED` repeats a run's order of actions, `NODEMESH_INTERLEAVING_ACTIONS` makes it longer.
@Suite("two nodes: random interleavings", .serialized, .lab("interleaving"))
struct InterleavingTests {
    private let lab = Lab.current
    private static let hosts = ["10.201.1.2", "10.201.2.1", "10.201.2.2"]
    private static let far = "10.201.2.1"
    private static let outsider = "10.202.2.3"
    private static let environment = ProcessInfo.processInfo.environment

    @Test("no byte in clear on the wire, and a reason for every refusal")
    func invariants() throws {
        let seed = Self.environment["NODEMESH_INTERLEAVING_SEED"].flatMap { UInt64($0) } ?? .random(in: 0..<1_000_000)
        let count = Self.environment["NODEMESH_INTERLEAVING_ACTIONS"].flatMap { Int($0) } ?? 14
        print("interleaving: NODEMESH_INTERLEAVING_SEED=\(seed) NODEMESH_INTERLEAVING_ACTIONS=\(count)")
        let wire = try WireCapture("n1", name: "interleaving")
        let marker = "marker-\(UUID().uuidString)"
        let decisionsBefore = try self.decisions()
        let mark = try self.lab.accessLogMark("n1")

        let knocking = try self.lab.start("alice", Self.peer + ["knock", marker] + Self.hosts)
        var events = Interleaving(lab: self.lab, seed: seed)
        defer { print("interleaving: \(events.history.joined(separator: ", "))") }
        for _ in 0..<count {
            try self.expectAttempts(knocking, more: events.pause())
            try events.next()
        }
        try events.settle()
        try self.expectAttempts(knocking, more: 30)
        let attempts = try knocking.result().lines.compactMap(Attempt.init)

        let (succeeded, failed) = (attempts.filter(\.isSuccess), attempts.filter { !$0.isSuccess })
        print("interleaving: \(succeeded.count) connections, \(failed.count) failed")
        #expect(succeeded.contains { $0.host == Self.far }, "\(attempts.count) attempts")

        // The capture saw what passed: this in clear, by somebody outside, and alice's words nowhere.
        let known = "known-\(UUID().uuidString)"
        let control = try self.lab.execute("n1", Self.peer + ["talk", Self.outsider, "7000", known])
        #expect(control.output == known, "\(control)")
        let bytes = try wire.end(after: known)
        #expect(bytes.range(of: Data(marker.utf8)) == nil, "in clear on the wire")
        #expect(try wire.packets("tcp and host \(TwoNodes.alice)").isEmpty, "past the tunnels")

        // The kernel decided about each attempt, and the proxy logged why each failed that it was there for.
        #expect(try self.decisions() - decisionsBefore >= attempts.count)
        _ = try self.lab.accessLogMark("n1")
        let reasons = try self.lab.accessLog("n1", since: mark).reduce(into: [Int: Set<String>]()) {
            guard let port = $1.sourcePort, let reason = $1.reason, reason != "completed" else { return }
            $0[port, default: []].insert(reason)
        }
        let unexplained = failed.filter { attempt in
            reasons[attempt.port] == nil && !events.absences.contains { $0.overlaps(attempt.time) }
        }
        #expect(unexplained.isEmpty, "seed \(seed): \(unexplained.prefix(10)) after \(events.history)")
    }

    private static let peer = ["/usr/bin/python3", "\(Lab.resources)/peer.py"]

    private func expectAttempts(_ knocking: Program, more: Int) throws {
        let now = knocking.outputLineCount
        _ = try eventually("\(more) more attempts", { knocking.outputLineCount }) { $0 >= now + more }
    }

    /// What the eBPF programs of the client's node counted for connects into the mesh.
    private func decisions() throws -> Int {
        let connects = [
            "captured", "direct", "outbound_failed_open", "capture_port_refused", "inactive_refused", "ipv6_refused",
            "storage_refused", "device_refused", "self_bypassed",
        ]
        let counted = try self.lab.status("n1").steering
        return connects.reduce(0) { $0 + Int(counted[$1] ?? 0) }
    }
}

/// A line of `peer.py knock`.
private struct Attempt: CustomStringConvertible {
    var port: Int
    var time: ClosedRange<Date>
    var host: String
    var outcome: String

    var isSuccess: Bool { self.outcome == "ok" }
    var description: String {
        "\(self.port) to \(self.host): \(self.outcome) at \(self.time.lowerBound.timeIntervalSince1970)"
    }

    init?(_ line: String) {
        let words = line.split(separator: " ").map(String.init)
        guard words.count == 5, let port = Int(words[0]), let begin = Double(words[1]), let end = Double(words[2])
        else {
            return nil
        }
        self.port = port
        self.time = Date(timeIntervalSince1970: begin)...Date(timeIntervalSince1970: max(begin, end))
        self.host = words[3]
        self.outcome = words[4]
    }
}
