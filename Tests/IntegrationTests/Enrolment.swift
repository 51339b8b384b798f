// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import Testing

/// Every way to enrol, and what nodemeshd tells about it. `red` and `blue` are network namespaces; the tests make the
/// cgroups. See Resources/enrolment.yaml.
@Suite("one node: enrolment", .serialized, .lab("enrolment"))
struct Enrolment {
    private let lab = Lab.current
    private static let server = "10.201.1.1"

    @Test("a template enrols children as they come, and guards those that it does not enrol")
    func template() throws {
        let parent = try self.makeCgroup("apps.slice")
        defer { self.remove(parent) }
        let stranger = try self.makeCgroup("apps.slice/other.service")
        try self.expect(
            self.lab.control(
                node: "n1", "workload", "enroll", "--template", "--cgroup", parent, "--namespace", "shop",
                "--name-pattern", #"app-(?<name>.+)\.service"#, "--service-account", "app-$name", "--label",
                "app=$name"))
        // Nothing of it matches the pattern, so nothing of it may speak to the mesh; elsewhere it may.
        #expect(try self.peer("blue", in: stranger, "end", Self.server, "7006").lines == ["refused "])
        let child = try self.makeCgroup("apps.slice/app-red.service")
        let process = try self.hold("red", in: child)
        let workload = try self.expectState("red", "enrolled")
        #expect(workload.labels == ["app": "red"])
        #expect(workload.serviceAccount == "app-red")
        #expect(workload.origin == "template apps")
        #expect(try self.peer("red", in: child, "talk", Self.server, "7000", "hello").output == "hello")
        #expect(try self.peer("blue", in: stranger, "end", Self.server, "7006").lines == ["refused "])
        let alone = try self.lab.control(node: "n1", "workload", "unenroll", "shop/red")
        #expect(alone.status == 1 && alone.errors.contains("template apps"), "\(alone)")
        // It goes, and so does its enrolment.
        process.terminate()
        _ = try process.result()
        try self.removeCgroup(child)
        _ = try eventually("the child to be let go", { try self.workloads() }) { !$0.contains { $0.name == "red" } }
        try self.expect(self.lab.control(node: "n1", "workload", "unenroll", "--template", "apps"))
        #expect(try self.peer("blue", in: stranger, "end", Self.server, "7099").lines != ["refused EPERM"])
        let templates: [TemplateSummary] = try self.lab.ask("n1", "/v1/templates")
        #expect(templates.isEmpty)
    }

    @Test("a unit that restarts is awaited, guarded while it has no process, and enrolled again")
    func restart() throws {
        let unit = try self.makeCgroup("shop-blue.service")
        defer { self.remove(unit) }
        let first = try self.hold("blue", in: unit)
        try self.expect(
            self.lab.control(
                node: "n1", "workload", "enroll", "--unit", "shop-blue.service", "--namespace", "shop", "--name",
                "blue", "--service-account", "blue"))
        _ = try self.expectState("blue", "enrolled")
        for _ in 0..<3 {
            first.terminate()
            try self.end(unit)
            let absent = try self.expectState("blue", "absent")
            #expect(absent.unit == "shop-blue.service")
            _ = try self.makeCgroup("shop-blue.service")
            // From the first process on it is captured or refused.
            let again = try self.hold("blue", in: unit)
            _ = try self.expectState("blue", "enrolled")
            #expect(try self.peer("blue", in: unit, "talk", Self.server, "7000", "hello").output == "hello")
            again.terminate()
            _ = try again.result()
        }
        try self.expect(self.lab.control(node: "n1", "workload", "unenroll", "shop/blue"))
    }

    @Test("files declare workloads: wrong ones are told with their line, and the others count")
    func files() throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "workloads-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let cgroup = try self.makeCgroup("filed")
        defer { self.remove(cgroup) }
        let process = try self.hold("red", in: cgroup)
        defer { process.terminate() }
        let file = directory.appending(path: "red.yaml")
        func declare(_ more: String) throws {
            let text = """
                apiVersion: nodemesh.io/v1
                kind: Workload
                metadata: {name: filed, namespace: shop, labels: {app: filed}}
                spec:
                  cgroup: \(cgroup)
                  serviceAccount: filed
                \(more)
                """
            try Data(text.utf8).write(to: file)
        }
        try declare("")
        try Data("kind: Workload\nspec: [\n".utf8).write(to: directory.appending(path: "broken.yaml"))
        try self.configure("workloadsDirectory: \(directory.path)")
        let workload = try self.expectState("filed", "enrolled")
        #expect(workload.origin?.hasPrefix(file.path) == true)
        let problems = try self.lab.status("n1").enrolmentProblems ?? []
        #expect(problems.contains { $0.contains("broken.yaml:") }, "\(problems)")
        #expect(try self.peer("red", in: cgroup, "talk", Self.server, "7000", "hello").output == "hello")
        let refused = try self.lab.control(node: "n1", "workload", "unenroll", "shop/filed")
        #expect(refused.status == 1 && refused.errors.contains("red.yaml:1"), "\(refused)")
        // A change takes effect, and survives a restart of nodemeshd.
        try declare("  failMode: open")
        try FileManager.default.removeItem(at: directory.appending(path: "broken.yaml"))
        try self.hangUp()
        _ = try eventually("the change", { try self.workloads() }) {
            $0.first { $0.name == "filed" }?.failMode == "open"
        }
        try FileManager.default.removeItem(at: file)
        try self.hangUp()
        _ = try eventually("it to be let go", { try self.workloads() }) { !$0.contains { $0.name == "filed" } }
    }

    @Test("connections that were there before, and excluded ones, are left alone and listed")
    func uncaptured() throws {
        let cgroup = try self.makeCgroup("early")
        defer { self.remove(cgroup) }
        let steady = try self.startPeer("red", in: cgroup, "steady", Self.server, "7000", "15")
        _ = try eventually("the connection", { try self.lab.status("n1").connectionsOpen }) { $0 > 0 }
        try self.expect(
            self.lab.control(
                node: "n1", "workload", "enroll", "--cgroup", cgroup, "--namespace", "shop", "--name", "early",
                "--service-account", "early", "--exclude-port", "7001"))
        _ = try self.expectState("early", "enrolled")
        let listed = try eventually("it to be listed", { try self.uncapturedConnections() }) { !$0.isEmpty }
        #expect(listed.map(\.workload) == ["shop/early"])
        #expect(listed.first?.remote == "\(Self.server):7000")
        #expect(listed.first?.reason == "before_enrolment")
        #expect(try self.workloads().first { $0.name == "early" }?.uncaptured == 1)
        let table = try self.lab.control(node: "n1", "connections", "--uncaptured")
        #expect(table.output.contains("before enrolment"), "\(table)")
        // The server takes this one for a stranger, since it came past the proxy of the client.
        let mark = try self.lab.status("n1").steering["outbound_excluded"] ?? 0
        let answer = try self.peer("red", in: cgroup, "talk", Self.server, "7001")
        #expect(!answer.output.isEmpty, "\(answer)")
        let excluded = try self.lab.status("n1").steering["outbound_excluded"] ?? 0
        #expect(excluded > mark)
        #expect(try self.peer("red", in: cgroup, "talk", Self.server, "7000", "hello").output == "hello")
        steady.terminate()
        _ = try? steady.result()
        _ = try eventually("the list to be empty", { try self.uncapturedConnections() }) { $0.isEmpty }
        try self.expect(self.lab.control(node: "n1", "workload", "unenroll", "shop/early"))
    }

    @Test("refusals are told as they happen, by name")
    func events() throws {
        let cgroup = try self.makeCgroup("loud")
        defer { self.remove(cgroup) }
        let process = try self.hold("red", in: cgroup)
        defer { process.terminate() }
        try self.expect(
            self.lab.control(
                node: "n1", "workload", "enroll", "--cgroup", cgroup, "--namespace", "shop", "--name", "loud",
                "--service-account", "loud"))
        _ = try self.expectState("loud", "enrolled")
        let stream = try Program(
            [
                Lab.tool, "--name", Lab.name, "ctl", "n1", "--", "events", "--follow", "--workload", "shop/loud", "-o",
                "json",
            ])
        // Its own capture port is nobody's to dial. Until the stream listens, such attempts are in its history.
        _ = try self.peer("red", in: cgroup, "end", "127.0.0.1", "15001")
        let line = try eventually("the event", { stream.output }) { $0.contains("capture_port_refused") }
        #expect(line.contains("\"workload\":\"shop/loud\""), "\(line)")
        #expect(line.contains("/sa/loud"), "\(line)")
        stream.terminate()
        let table = try self.lab.control(
            node: "n1", "events", "--reason", "capture_port_refused", "--workload", "shop/loud", "--since", "5m")
        #expect(table.output.contains("shop/loud"), "\(table)")
        let refusals = try self.lab.status("n1").refusals?["capture_port_refused"] ?? 0
        #expect(refusals > 0)
        try self.expect(self.lab.control(node: "n1", "workload", "unenroll", "shop/loud"))
    }

    @Test("the state in the kernel is shown, and a program that is gone raises the alarm and is put back")
    func kernelState() throws {
        let summary: BPFSummary = try self.lab.ask("n1", "/v1/bpf")
        #expect(summary.programs.contains { $0.hook == "cgroup/connect4" && ($0.verifiedInstructions ?? 0) > 0 })
        #expect(!summary.links.contains { !$0.isAttached })
        #expect(summary.maps.contains { $0.name == "nm_enrolled" && ($0.entries ?? 0) > 0 && $0.capacity > 0 })
        let table = try self.lab.control(node: "n1", "bpf", "status")
        #expect(table.status == 0 && table.output.contains("cgroup/connect4"), "\(table)")
        let well = try eventually("the canary", { try self.lab.status("n1") }) { $0.canary != nil }
        #expect(well.canary?.outcome == "captured", "\(String(describing: well.canary))")
        #expect(well.isReady)
        // By hand, as somebody's script would: the pin was all that held the link.
        let place = try self.lab.layout().workload("server")
        let link = try #require(summary.links.first { $0.hook == "cgroup/connect4" && $0.target == place.cgroup })
        #expect(unlink("/sys/fs/bpf/nodemesh/\(try self.instance())/\(link.pin)") == 0)
        let events = try eventually(
            "the alarm", { try self.lab.control(node: "n1", "events", "--reason", "programs_missing") }
        ) { $0.output.contains("shop/server") }
        #expect(events.output.contains("cgroup/connect4"), "\(events)")
        let healed = try eventually("the canary to be well", { try self.lab.status("n1") }) {
            $0.isReady && $0.canary?.outcome == "captured"
        }
        #expect((healed.maps.first { $0.name == "nm_enrolled" }?.entries ?? 0) >= 2, "the server and the canary")
        let after: BPFSummary = try self.lab.ask("n1", "/v1/bpf")
        #expect(after.links.contains { $0.pin == link.pin && $0.isAttached })
    }

    @Test("a daemon without a free descriptor lets no workload go")
    func noDescriptors() throws {
        let pid = try self.lab.run("pid", "n1").lines[0]
        let shown = try Program.run(["/usr/bin/prlimit", "--pid", pid, "--nofile", "--output", "SOFT", "--noheadings"])
        let former = try #require(Int(shown.output.filter(\.isNumber)), "\(shown)")
        func limit(_ count: Int) throws {
            self.expect(try Program.run(["/usr/bin/prlimit", "--pid", pid, "--nofile=\(count):"]))
        }
        let log = try self.lab.layout().node("n1").log
        let mark = try String(contentsOfFile: log, encoding: .utf8).count
        try limit(3)
        defer { try? limit(former) }
        // Several looks at what is there, and one at stale kernel state.
        Thread.sleep(forTimeInterval: 12)
        try limit(former)
        _ = try eventually("n1 to answer", { try? self.lab.status("n1") }) { $0?.isReady == true }
        #expect(try self.workloads().contains { $0.name == "server" && $0.state == "enrolled" })
        let said = try String(contentsOfFile: log, encoding: .utf8).dropFirst(mark)
        #expect(!said.contains("workload vanished"), "\(said.suffix(2000))")
        let summary: BPFSummary = try self.lab.ask("n1", "/v1/bpf")
        let place = try self.lab.layout().workload("server")
        #expect(summary.links.contains { $0.hook == "cgroup/connect4" && $0.target == place.cgroup && $0.isAttached })
    }

    // MARK: Helpers

    private func expect(_ result: ProgramResult, sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(result.status == 0, "\(result)", sourceLocation: sourceLocation)
    }

    private func workloads() throws -> [EnrolledWorkload] { try self.lab.ask("n1", "/v1/workloads") }

    private func uncapturedConnections() throws -> [UncapturedConnection] {
        try self.lab.ask("n1", "/v1/connections/uncaptured")
    }

    private func expectState(_ name: String, _ state: String) throws -> EnrolledWorkload {
        let list = try eventually("\(name) to be \(state)", { try self.workloads() }) { list in
            list.contains { $0.name == name && $0.state == state }
        }
        return try #require(list.first { $0.name == name })
    }

    /// The lab's own cgroup.
    private func root() throws -> String {
        URL(filePath: try self.lab.layout().workload("server").cgroup).deletingLastPathComponent().path
    }

    private func makeCgroup(_ name: String) throws -> String {
        let path = try self.root() + "/" + name
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        return path
    }

    /// Ends what runs in it, and removes it.
    private func end(_ path: String) throws {
        try? "1".write(toFile: path + "/cgroup.kill", atomically: false, encoding: .utf8)
        try self.removeCgroup(path)
    }

    private func removeCgroup(_ path: String) throws {
        _ = try eventually("\(path) to be removed", { rmdir(path) == 0 || errno == ENOENT }) { $0 }
    }

    private func remove(_ path: String) {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
        for name in names where !name.contains(".procs") {
            var isDirectory: ObjCBool = false
            if FileManager.default.fileExists(atPath: "\(path)/\(name)", isDirectory: &isDirectory),
                isDirectory.boolValue
            {
                try? self.end("\(path)/\(name)")
            }
        }
        try? self.end(path)
    }

    /// `peer.py` in a namespace of the lab and a cgroup of the test.
    private func command(in cgroup: String, _ arguments: [String]) -> [String] {
        ["/bin/sh", "-c", "echo $$ >\"$0\"/cgroup.procs && exec \"$@\"", cgroup] + arguments
    }

    private static let python = ["/usr/bin/python3", "\(Lab.resources)/peer.py"]

    private func peer(_ network: String, in cgroup: String, _ arguments: String...) throws -> ProgramResult {
        try self.lab.execute(network, self.command(in: cgroup, Self.python + arguments))
    }

    private func startPeer(_ network: String, in cgroup: String, _ arguments: String...) throws -> Program {
        try self.lab.start(network, self.command(in: cgroup, Self.python + arguments))
    }

    /// A process that only is there.
    private func hold(_ network: String, in cgroup: String) throws -> Program {
        let program = try self.lab.start(network, self.command(in: cgroup, ["/bin/sleep", "60"]))
        _ = try eventually(
            "a process in \(cgroup)", { try String(contentsOfFile: cgroup + "/cgroup.procs", encoding: .utf8) }
        ) { !$0.isEmpty }
        return program
    }

    private func node() throws -> LabLayout.Place { try self.lab.layout().node("n1") }

    private func instance() throws -> String { "\(Lab.name)-n1" }

    private func hangUp() throws {
        for pid in try self.node().pids { kill(pid, SIGHUP) }
    }

    /// Adds a line to the node's configuration file and has it read.
    private func configure(_ line: String) throws {
        let path = "/run/nodemesh-lab/\(Lab.name)/nodes/n1/config.yaml"
        let text = try String(contentsOfFile: path, encoding: .utf8)
        // The lab writes JSON, which is YAML in one mapping.
        let object = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
        var values = object ?? [:]
        let parts = line.split(separator: ": ", maxSplits: 1).map(String.init)
        values[parts[0]] = parts[1]
        try JSONSerialization.data(withJSONObject: values).write(to: URL(filePath: path))
        try self.hangUp()
    }
}
