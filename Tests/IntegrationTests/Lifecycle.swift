// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import Testing

/// Two nodes; daemons are stopped and killed, workloads come and vanish. See Resources/lifecycle.yaml.
@Suite("two nodes: lifecycle", .serialized, .lab("lifecycle"))
struct Lifecycle {
    private let lab = Lab.current
    private static let far = "10.201.2.1"
    private static let near = "10.201.1.2"
    private static let late = "10.201.2.2"
    private static let passing = "10.201.2.3"
    private static let fading = "10.201.2.4"

    @Test("the control plane is away: connections go on, and new ones are made")
    func controlPlaneAway() throws {
        let steady = try self.lab.startPeer("alice", "steady", Self.far, "7000", "6")
        try self.lab.run("kill", "control", "-9")
        try self.expectTalk("alice", Self.far)
        try self.expectTalk("alice", Self.near)
        let status = try eventually("n1 to notice", { try self.lab.status("n1").controlPlane }) { !$0.isConnected }
        #expect(status.lastError != nil)
        let answer = try steady.result()
        #expect(answer.status == 0, "\(answer)")
        try self.lab.run("start", "control")
        try self.expectConnected("n1")
        try self.expectConnected("n2")
        try self.lab.run("wait")
    }

    @Test("a node without a view that starts while the control plane is away refuses, and works when it is back")
    func nodeStartsAlone() throws {
        try self.lab.run("kill", "control", "-9")
        try self.lab.run("kill", "n1")
        try FileManager.default.removeItem(
            atPath: "/run/nodemesh-lab/\(Lab.name)/nodes/n1/data/view.snapshot")
        try self.lab.run("start", "n1", "--no-wait")
        // Nothing known, nothing guessed, and nothing in clear.
        for _ in 0..<10 {
            let answer = try self.lab.peer("alice", "end", Self.far, "7006")
            #expect(["reset ", "refused "].contains(answer.lines.first), "\(answer)")
        }
        try self.lab.run("start", "control")
        try self.expectConnected("n1")
        try self.expectTalk("alice", Self.far)
        try self.lab.run("wait")
    }

    @Test("the client's daemon is killed: connects are refused, not sent in clear, and work again after it")
    func clientDaemonKilled() throws {
        let held = try self.lab.startPeer("alice", "hold", Self.far, "7000", "5")
        _ = try eventually("the connections", { held.output }) { $0.contains("holding") }
        try self.lab.run("kill", "n1", "-9")
        for address in [Self.far, Self.near, "10.201.2.99"] {
            let answer = try self.lab.peer("alice", "end", address, "7006")
            #expect(answer.lines == ["refused "], "\(answer)")
        }
        // And nobody gets in past it.
        let inward = try self.lab.peer("late", "end", Self.near, "7006")
        #expect(inward.lines == ["refused "], "\(inward)")
        // The other node lets go of what the dead one held.
        _ = try eventually("no connection on n2", { try self.lab.status("n2").connectionsOpen }) { $0 == 0 }
        try self.lab.run("start", "n1")
        try self.expectTalk("alice", Self.far)
        try self.expectTalk("alice", Self.near)
        #expect(try self.lab.status("n1").connectionsOpen == 0)
        held.terminate()
    }

    @Test("the server's daemon is killed: the client is told, and the next connection works after its return")
    func serverDaemonKilled() throws {
        let steady = try self.lab.startPeer("alice", "steady", Self.far, "7000", "60")
        _ = try eventually("the connection", { try self.lab.status("n1").connectionsOpen }) { $0 > 0 }
        try self.lab.run("kill", "n2", "-9")
        // An error, not a wait.
        #expect(try steady.result(within: 10).status != 0)
        let answer = try self.lab.peer("alice", "end", Self.far, "7006")
        #expect(["reset ", "refused "].contains(answer.lines.first), "\(answer)")
        try self.lab.run("start", "n2")
        try self.expectTalk("alice", Self.far)
    }

    @Test("restarts leave nothing behind in the daemon or the kernel", arguments: ["n1", "n2"])
    func restarts(_ node: String) throws {
        func state() throws -> [Int] {
            let pid = try self.lab.run("pid", node).lines[0]
            let pins = "/sys/fs/bpf/nodemesh/\(Lab.name)-\(node)"
            return [
                try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").count,
                try FileManager.default.subpathsOfDirectory(atPath: pins).count,
            ]
        }
        func settled() throws -> [Int] {
            try self.expectConnected(node)
            try self.expectTalk("alice", Self.far)
            _ = try eventually("no connection", { try self.lab.status(node).connectionsOpen }) { $0 == 0 }
            return try state()
        }
        let before = try settled()
        for _ in 0..<3 { try self.lab.run("restart", node, "-9") }
        try self.lab.run("restart", node)
        let after = try eventually("descriptors and pins", settled) { zip($0, before).allSatisfy { $0 <= $1 } }
        #expect(zip(after, before).allSatisfy { $0 <= $1 })
    }

    @Test("a node that is gone for longer than the timeout takes its workloads out of services")
    func nodeGone() throws {
        let pair = try self.pairAddress()
        /// Whom a dozen connections reached; nil when one of them failed.
        func names() throws -> Set<String>? {
            let answer = try self.lab.peer("alice", "names", pair, "80", "12")
            return answer.status == 0 && answer.lines.count == 12 ? Set(answer.lines) : nil
        }
        func isHealthy() throws -> Bool? {
            let listed = try self.lab.control("workload", "list", "--all", "-o", "json")
            let workloads = try AdminJSON.decoder.decode([WorkloadSummary].self, from: Data(listed.output.utf8))
            return workloads.first { $0.name == "far" }?.isHealthy
        }
        _ = try eventually("both endpoints", names) { $0 == ["near", "far"] }
        try self.lab.run("kill", "n2", "-9")
        _ = try eventually("its workload to be unhealthy", within: 40, isHealthy) { $0 == false }
        _ = try eventually("all to reach the one that lives", within: 40, names) { $0 == ["near"] }
        try self.lab.run("start", "n2")
        _ = try eventually("both again", within: 40, names) { $0 == ["near", "far"] }
    }

    @Test("the server's processes are killed: the client is told")
    func serverKilled() throws {
        let steady = try self.lab.startPeer("alice", "steady", Self.far, "7000", "60")
        _ = try eventually("the connection", { try self.lab.status("n1").connectionsOpen }) { $0 > 0 }
        try self.lab.run("kill", "far", "-9")
        #expect(try steady.result(within: 10).status != 0)
        let answer = try self.lab.peer("alice", "end", Self.far, "7006")
        #expect(["reset ", "refused "].contains(answer.lines.first), "\(answer)")
        try self.lab.run("start", "far")
        try self.expectTalk("alice", Self.far)
    }

    @Test("workloads are enrolled and unenrolled while others' connections flow")
    func enrolUnderTraffic() throws {
        let flows = try [(Self.far, "n1"), (Self.near, "n1")].map {
            try self.lab.startPeer("alice", "steady", $0.0, "7000", "15")
        }
        // Not enrolled: no workload of the mesh, so the mesh does not know its address.
        let unknown = try self.lab.peer("alice", "end", Self.late, "7006")
        #expect(["reset ", "refused "].contains(unknown.lines.first), "\(unknown)")
        for _ in 0..<3 {
            try self.lab.run("enrol", "late")
            try self.expectTalk("alice", Self.late)
            let words = try self.lab.peer("late", "talk", Self.far, "7001").output.split(separator: " ")
            #expect(words.first.map(String.init) == Self.late)
            try self.lab.run("unenrol", "late")
        }
        for flow in flows {
            let answer = try flow.result()
            let answers = answer.output.split(separator: " ").first.flatMap { Int($0) } ?? 0
            #expect(answer.status == 0 && answers > 500, "\(answer)")
        }
        // Its own programs still run, outside the mesh now.
        let own = try self.lab.execute(
            "late", ["/usr/bin/python3", "\(Lab.resources)/peer.py", "talk", "127.0.0.1", "7000", "still here"])
        #expect(own.output == "still here", "\(own)")
    }

    @Test("a workload's cgroup vanishes: it leaves the mesh, and its node goes on")
    func cgroupVanishes() throws {
        try self.expectTalk("alice", Self.passing)
        let place = try self.lab.layout().workload("passing")
        try self.lab.run("kill", "passing", "-9")
        #expect(rmdir(place.cgroup) == 0)
        try self.expectGone("passing")
        try self.expectTalk("alice", Self.far)
        // It comes back in a new cgroup.
        try FileManager.default.createDirectory(atPath: place.cgroup, withIntermediateDirectories: false)
        try self.lab.run("start", "passing")
        try self.lab.run("enrol", "passing")
        try self.expectTalk("alice", Self.passing)
    }

    @Test("a workload's network namespace vanishes: it leaves the mesh, and its node goes on")
    func namespaceVanishes() throws {
        try self.expectTalk("alice", Self.fading)
        let place = try self.lab.layout().workload("fading")
        let steady = try self.lab.startPeer("alice", "steady", Self.fading, "7000", "60")
        _ = try eventually("the connection", { try self.lab.status("n1").connectionsOpen }) { $0 > 0 }
        try self.lab.run("kill", "fading", "-9")
        #expect(try Program.run(["/usr/sbin/ip", "netns", "delete", place.network]).status == 0)
        #expect(try steady.result(within: 15).status != 0)
        try self.expectTalk("alice", Self.far)
        let answer = try self.lab.peer("alice", "end", Self.fading, "7006")
        #expect(["reset ", "refused "].contains(answer.lines.first), "\(answer)")
        try self.expectGone("fading")
    }

    // Helpers

    private func expectTalk(_ client: String, _ address: String, sourceLocation: SourceLocation = #_sourceLocation)
        throws
    {
        let answer = try eventually(
            "\(client) to talk to \(address)", { try self.lab.peer(client, "talk", address, "7000", "hello").output }
        ) { $0 == "hello" }
        #expect(answer == "hello", sourceLocation: sourceLocation)
    }

    private func expectConnected(_ node: String) throws {
        _ = try eventually("\(node) to be connected", within: 40, { try self.lab.status(node).controlPlane }) {
            $0.isConnected
        }
    }

    private func expectGone(_ name: String) throws {
        _ = try eventually(
            "\(name) to be gone", within: 40, { try self.lab.ask("n2", "/v1/workloads", as: [EnrolledWorkload].self) }
        ) { $0.allSatisfy { $0.name != name || $0.state == "gone" } }
    }

    private func pairAddress() throws -> String {
        let services: [ServiceSummary] = try self.lab.ask("n1", "/v1/services")
        return try #require(services.first { $0.name == "pair" }?.addresses.first)
    }
}
