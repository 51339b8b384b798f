// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import Testing

/// Two nodes whose control plane is away, restored from a backup, or changes its root; and what lies on their disks. See
/// Resources/offline.yaml.
@Suite("two nodes: without the control plane", .serialized, .lab("offline"))
struct Offline {
    let lab = Lab.current
    private static let far = "10.201.2.1"
    private static let near = "10.201.1.2"

    @Test("a node starts from its disk: connections work at once, to both nodes")
    func coldStart() throws {
        try self.waitForState()
        try self.lab.run("kill", "control", "-9")
        try self.lab.run("kill", "n1", "-9")
        try self.lab.run("kill", "n2", "-9")
        try self.lab.run("start", "n2", "--no-wait")
        _ = try eventually("n2 to have its view", { try? self.lab.status("n2").services }) { $0 == 1 }
        let knocking = try self.lab.startPeer("alice", "knock", "hello", Self.far)
        _ = try eventually("a refused connect", { knocking.output }) { $0.contains("ConnectionRefused") }
        let mark = knocking.outputLineCount
        try self.lab.run("start", "n1", "--no-wait")
        let process = try self.lab.run("pid", "n1").lines[0]
        let first = try eventually(
            "a connection", { Self.firstSuccess(in: knocking.output, after: mark) }
        ) { $0 != nil }
        let took = try #require(first) - Self.start(of: process)
        print("cold start without a control plane: the first connection ended \(Int(took * 1000)) ms after exec")
        #expect(took < 10 * Patience.factor)
        _ = try knocking.result()
        try self.expectTalk("alice", Self.near)
        let status = try self.lab.status("n1")
        #expect(!status.controlPlane.isConnected && status.controlPlane.contactAgeSeconds == nil)
        #expect(status.controlPlane.viewAgeSeconds != nil)
        #expect(try self.lab.metrics("n1")["nodemesh_view_age_seconds"] != nil)
        try self.restartControl()
    }

    @Test("a damaged, a foreign and a rolled-back view are refused, and the node waits for its control plane")
    func badViews() throws {
        try self.waitForState()
        try self.lab.run("kill", "control", "-9")
        try self.lab.run("kill", "n1")
        let view = try self.data("n1") + "/view.snapshot"
        let good = try Data(contentsOf: URL(filePath: view))
        for (name, content) in [
            ("damaged", Data(good.dropLast(100))),
            ("another node's", try Data(contentsOf: URL(filePath: self.data("n2") + "/view.snapshot"))),
        ] {
            try content.write(to: URL(filePath: view))
            try self.lab.run("start", "n1", "--no-wait")
            let alarms = try eventually("the \(name) view to be refused", { try? self.lab.status("n1").alarms ?? [] }) {
                $0?.contains { $0.contains("refused") } == true
            }
            #expect(alarms != nil)
            // Nothing known, nothing guessed, and nothing in clear.
            let answer = try self.lab.peer("alice", "end", Self.far, "7006")
            #expect(["reset ", "refused ", "timeout "].contains(answer.lines.first), "\(answer)")
            try self.lab.run("kill", "n1", "-9")
        }
        try self.lab.run("start", "control")
        try self.lab.run("start", "n1")
        try self.expectTalk("alice", Self.far)
        try self.lab.run("wait")
    }

    @Test("a view older than maxStaleness decides nothing; open connections go on")
    func staleView() throws {
        let config = try self.configure("n1", "maxStaleness: 3")
        defer {
            try? self.restore(config)
            // Only when this test failed: the others are not to fail by it.
            _ = try? self.lab.run("start", "control")
        }
        let steady = try self.lab.startPeer("alice", "hold", Self.far, "7000", "1")
        _ = try eventually("the connection", { steady.output }) { $0.contains("holding") }
        try self.lab.run("kill", "control", "-9")
        _ = try eventually("the view to be stale", { try self.lab.status("n1").controlPlane }) { $0.isStale == true }
        let mark = try self.lab.accessLog("n1").count
        // The data plane is told within a second.
        for address in [Self.far, Self.near] {
            _ = try eventually("a reset", { try self.lab.peer("alice", "end", address, "7006").lines.first }) {
                $0 == "reset "
            }
        }
        let log = try eventually("the access log", { try self.lab.accessLog("n1", since: mark) }) {
            $0.count { $0.reason == "stale_view" } >= 2
        }
        #expect(log.contains { $0.detail?.contains("maxStaleness") == true })
        let explained = try self.lab.control(node: "n1", "explain", "shop/alice", "\(Self.far):7000")
        #expect(explained.status == 1 && explained.output.contains("stale_view"), "\(explained)")
        #expect(try self.lab.status("n1").connectionsOpen > 0)
        #expect(try self.lab.metrics("n1")["nodemesh_view_stale"] == 1)
        try self.lab.run("start", "control")
        try self.expectTalk("alice", Self.far)
        try self.expectTalk("alice", Self.near)
        steady.terminate()
    }

    @Test("a full disk and a read-only one are told of; traffic and renewals go on")
    func badDisks() throws {
        try self.waitForState()
        let data = try self.data("n1")
        let service = try self.service("disk")
        for (options, word) in [("size=64k", "No space"), ("size=64k,ro", "Read-only")] {
            try self.lab.run("kill", "n1", "-9")
            let copy = FileManager.default.temporaryDirectory.appending(path: "nodemesh-disk-\(UUID().uuidString)")
            try FileManager.default.copyItem(atPath: data, toPath: copy.path)
            defer { try? FileManager.default.removeItem(at: copy) }
            try Self.must("/usr/bin/mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "none", data)
            defer { _ = try? Program.run(["/usr/bin/umount", "-l", data]) }
            try Self.must("/usr/bin/cp", "-a", copy.path + "/.", data)
            if options.hasSuffix("ro") {
                try Self.must("/usr/bin/mount", "-o", "remount,ro", data)
            } else {
                // What is left goes to a file of somebody else's.
                _ = try Program.run(["/usr/bin/dd", "if=/dev/zero", "of=\(data)/full", "bs=1k"])
            }
            try self.lab.run("start", "n1")
            try self.expectTalk("alice", Self.far)
            // A change of the view, which cannot be kept.
            try self.lab.apply(service)
            _ = try eventually("the fault to be told", { try self.lab.status("n1").alarms ?? [] }) {
                $0.contains { $0.contains("cannot keep state") && $0.contains(word) }
            }
            // Something else may have failed before it.
            _ = try eventually("the view's failure to be counted", { try self.lab.metrics("n1") }) {
                $0[#"nodemesh_state_write_failures_total{what="view"}"#] ?? 0 > 0
            }
            try self.expectTalk("alice", Self.near)
            try self.lab.delete(service)
            try self.lab.run("kill", "n1", "-9")
        }
        try self.lab.run("start", "n1")
        try self.expectTalk("alice", Self.far)
    }

    @Test("a control plane that was restored from an older backup is refused until an operator accepts it")
    func restoredBackup() throws {
        try self.waitForState()
        let control = "/run/nodemesh-lab/\(Lab.name)/control/data"
        let backup = FileManager.default.temporaryDirectory.appending(path: "nodemesh-backup-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: backup) }
        try self.lab.run("kill", "control")
        try Self.must("/usr/bin/cp", "-a", control, backup)
        try self.lab.run("start", "control")
        let service = try self.service("later")
        try self.lab.apply(service)
        _ = try eventually("both nodes to know it", { try ["n1", "n2"].map { try self.lab.status($0).services } }) {
            $0 == [2, 2]
        }
        try self.lab.run("kill", "control")
        try Self.must("/usr/bin/rm", "-rf", control)
        try Self.must("/usr/bin/cp", "-a", backup, control)
        try self.lab.run("start", "control")
        _ = try eventually("n1 to refuse it", { try self.lab.status("n1").alarms ?? [] }) {
            $0.contains { $0.contains("accept-restore") }
        }
        // It keeps what it knows, and connections go on.
        #expect(try self.lab.status("n1").services == 2)
        try self.expectTalk("alice", Self.far)
        _ = try eventually("the control plane to know", { try self.lab.control("accept-restore") }) { $0.status == 0 }
        _ = try eventually("both to believe it", { try ["n1", "n2"].map { try self.lab.status($0).services } }) {
            $0 == [1, 1]
        }
        try self.expectTalk("alice", Self.far)
    }

    @Test("the root changes while connections are made all the time: none fails")
    func rotation() throws {
        try self.waitForState()
        let knocking = try self.lab.startPeer("alice", "knock", "hello", Self.far, Self.near)
        let back = try self.lab.startPeer("far", "knock", "hello", "10.201.1.2")
        let steady = try self.lab.startPeer("alice", "hold", Self.far, "7000", "1")
        _ = try eventually("connections", { (knocking.output, back.output, steady.output) }) {
            $0.0.contains(" ok") && $0.1.contains(" ok") && $0.2.contains("holding")
        }
        let before = try self.authority().roots.map(\.fingerprint)
        try self.step("rotate")
        let switched = try eventually("every node to trust the next root", within: 40, self.authority) {
            $0.phase == "switched"
        }
        let new = try #require(switched.roots.first { $0.state == "active" }).fingerprint
        #expect(!before.contains(new))
        _ = try eventually("every certificate to be renewed", within: 60, self.authority) { $0.waiting.isEmpty }
        // Connections under the new root, and then without the old one.
        let mark = knocking.outputLineCount
        _ = try eventually("more connections", { knocking.outputLineCount }) { $0 > mark + 20 }
        try self.step("retire")
        for node in ["n1", "n2"] {
            let bundle = try self.data(node) + "/trust-bundle.pem"
            _ = try eventually("\(node) to trust one root", { try String(contentsOfFile: bundle, encoding: .utf8) }) {
                $0.components(separatedBy: "BEGIN CERTIFICATE").count == 2
            }
        }
        let last = knocking.outputLineCount
        _ = try eventually("more connections", { knocking.outputLineCount }) { $0 > last + 20 }
        for (name, program) in [("alice", knocking), ("far", back)] {
            let answer = try program.result()
            let failed = answer.lines.filter { !$0.hasSuffix(" ok") }
            print("rotation: \(answer.lines.count) connections of \(name), \(failed.count) failed")
            #expect(failed.isEmpty, "\(failed.prefix(5))")
        }
        let open = try self.lab.connections("n1")
        #expect(open.contains { $0.wire == "splice" }, "the open connection goes on")
        _ = try steady.result()
    }

    @Test("a node that was away while the root changed says what to do, and joins again with a token")
    func rotationMissed() throws {
        try self.waitForState()
        try self.lab.run("kill", "n2")
        try self.step("rotate")
        let waiting = try self.authority().waiting
        #expect(waiting.contains { $0.node == "n2" })
        let early = try self.lab.control("ca", "activate")
        #expect(early.status == 1 && early.errors.contains("n2"), "\(early)")
        try self.step("activate", "--force")
        _ = try eventually("n1 to be changed over", within: 60, self.authority) { $0.waiting.map(\.node) == ["n2"] }
        try self.step("retire", "--force")
        try self.lab.run("start", "n2", "--no-wait")
        let alone = try eventually("n2 to say so", { try? self.lab.status("n2").controlPlane }) {
            $0?.lastError?.contains("join again") == true || $0?.lastError?.contains("not this mesh's") == true
        }
        #expect(alone?.isConnected == false)
        // What is on the node goes on; what needs the other's certificate cannot.
        try self.lab.run("kill", "n2")
        try self.giveToken("n2")
        try self.lab.run("start", "n2")
        _ = try eventually("n2 to be connected", within: 40, { try self.lab.status("n2").controlPlane }) {
            $0.isConnected
        }
        try self.expectTalk("alice", Self.far)
        #expect(try self.authority().phase == "steady")
    }

    @Test("a node that is to join while the control plane is away waits for it; a token that is refused ends it")
    func firstJoin() throws {
        try self.waitForState()
        try self.lab.run("kill", "n1")
        // Enrolments stay: it is the same node.
        for name in ["node.pem", "trust-bundle.pem"] {
            try FileManager.default.removeItem(atPath: self.data("n1") + "/" + name)
        }
        let log = try self.lab.layout().node("n1").log
        func lines(since mark: Int) throws -> [Substring] {
            try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n").dropFirst(mark).map { $0 }
        }
        try self.giveToken("n1", of: "n2")
        var mark = try lines(since: 0).count
        try self.lab.run("start", "n1", "--no-wait")
        _ = try eventually("n1 to end", { try self.lab.layout().node("n1").pids }) { $0.isEmpty }
        #expect(try lines(since: mark).contains { $0.hasPrefix("nodemeshd: ") && $0.contains("is for the node n2") })
        try self.giveToken("n1")
        try self.lab.run("kill", "control", "-9")

        // A signal ends the wait.
        mark = try lines(since: 0).count
        try self.lab.run("start", "n1", "--no-wait")
        _ = try eventually("n1 to wait", { try lines(since: mark) }) { $0.contains { $0.contains("cannot join yet") } }
        try self.lab.run("kill", "n1")
        #expect(try lines(since: mark).contains { $0.contains("stopped before this node has joined") })

        mark = try lines(since: 0).count
        try self.lab.run("start", "n1", "--no-wait")
        _ = try eventually("n1 to have asked again", { try lines(since: mark) }) {
            $0.count { $0.contains("cannot join yet") } >= 3
        }
        let answer = try self.lab.peer("alice", "end", Self.far, "7006")
        #expect(["reset ", "refused "].contains(answer.lines.first), "\(answer)")
        try self.lab.run("start", "control")
        _ = try eventually("n1 to have joined", within: 60, { try? self.lab.status("n1").controlPlane }) {
            $0?.isConnected == true
        }
        try self.restartedControl()
        try self.expectTalk("alice", Self.far)
        try self.expectTalk("alice", Self.near)
    }

    @Test(
        "certificates that cannot be renewed raise an alarm; when they are over, tunnels are refused and all else goes on"
    )
    func expiry() throws {
        try self.waitForState()
        let steady = try self.lab.startPeer("alice", "hold", Self.far, "7000", "1")
        _ = try eventually("the connection", { steady.output }) { $0.contains("holding") }
        try self.lab.run("kill", "control", "-9")
        _ = try eventually("the alarm", within: 80, { try self.lab.status("n1").alarms ?? [] }) {
            $0.contains { $0.contains("sa/alice") && $0.contains("expires in") }
        }
        _ = try eventually("the end", within: 80, { try self.lab.status("n1").alarms ?? [] }) {
            $0.contains { $0.contains("sa/alice") && $0.contains("has expired") }
        }
        let mark = try self.lab.accessLog("n1").count
        let answer = try self.lab.peer("alice", "end", Self.far, "7006")
        #expect(answer.lines.first?.hasPrefix("ok") != true, "\(answer)")
        _ = try eventually("the access log", { try self.lab.accessLog("n1", since: mark) }) {
            $0.contains { $0.reason == "identity_unavailable" }
        }
        // Without a tunnel there is no certificate to be over; and what is open stays open.
        try self.expectTalk("alice", Self.near)
        #expect(try self.lab.connections("n1").contains { $0.wire == "splice" })
        try self.lab.run("start", "control")
        try self.expectTalk("alice", Self.far)
        _ = try eventually("no alarm", within: 40, { try self.lab.status("n1").alarms ?? [] }) { $0.isEmpty }
        steady.terminate()
    }
}
