// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import Testing

/// What operators do with a node that runs: change its configuration and its log, watch it, and report a fault.
@Suite("one node: operation", .serialized, .lab("enrolment"))
struct Operation {
    private let lab = Lab.current
    private static let directory = "/run/nodemesh-lab/\(Lab.name)"
    private static let file = "\(Self.directory)/nodes/n1/config.yaml"

    @Test("a reload takes over what it can, lists what needs a restart, and changes nothing when there is a fault")
    func reload() throws {
        let before = try String(contentsOfFile: Self.file, encoding: .utf8)
        defer {
            try? before.write(toFile: Self.file, atomically: false, encoding: .utf8)
            try? self.hangUp()
        }
        try self.configure(["failMode": "open", "loops": "3", "logLevel": "debug"])
        let status = try eventually("the reload", { try self.lab.status("n1") }) { $0.failMode == "open" }
        #expect(status.pendingRestart == ["loops"])
        let shown = try self.lab.control(node: "n1", "config", "show", "--origin")
        #expect(shown.status == 0 && shown.output.contains(Self.file + ":"), "\(shown)")
        #expect(shown.errors.contains("loops: 3 after a restart of nodemeshd"), "\(shown)")
        let levels = try self.lab.control(node: "n1", "logs", "level", "data-plane")
        #expect(levels.output.contains("debug"), "\(levels)")

        try self.configure(["failMode": "ajar", "loops": "many"])
        let failed = try eventually("the refusal", { try self.lab.status("n1") }) {
            $0.configurationProblems?.count == 2
        }
        #expect(failed.failMode == "open")
        #expect(
            failed.configurationProblems?.contains { $0.contains("failMode: 'ajar' is not one of closed, open") }
                == true)
        let offline = try self.lab.control("config", "validate", Self.file, "--set", "controlPlane=cp:1")
        #expect(offline.status == 1 && offline.errors.contains("loops: 'many'"), "\(offline)")
    }

    @Test("a reload moves the access log; one that cannot be opened leaves it where it is")
    func accessLogMoves() throws {
        let before = try String(contentsOfFile: Self.file, encoding: .utf8)
        defer {
            try? before.write(toFile: Self.file, atomically: false, encoding: .utf8)
            try? self.hangUp()
        }
        let (old, new) = ("\(Self.directory)/logs/n1-access.log", "\(Self.directory)/logs/moved.log")
        func count(_ path: String) -> Int {
            let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
            return text.split(separator: "\n").count { $0.contains(#""dst.addr":"10.201.1.1:7000""#) }
        }
        func expectLine(in path: String) throws {
            let mark = count(path)
            #expect(try self.lab.peer("red", "talk", "10.201.1.1", "7000", "hello").output == "hello")
            _ = try eventually("a line in \(path)", { count(path) }) { $0 > mark }
        }
        try expectLine(in: old)
        try self.configure(["accessLog": new])
        _ = try eventually("the reload", { FileManager.default.fileExists(atPath: new) }) { $0 }
        let mark = count(old)
        try expectLine(in: new)
        #expect(count(old) == mark)
        try self.configure(["accessLog": "/nowhere/access.log", "failMode": "open"])
        let status = try eventually("the refusal", { try self.lab.status("n1") }) {
            $0.configurationProblems?.isEmpty == false
        }
        #expect(
            status.configurationProblems?.contains {
                $0.contains("accessLog: cannot open the access log /nowhere/access.log")
            } == true)
        // With a fault, nothing changes.
        #expect(status.failMode != "open")
        try expectLine(in: new)
        let process = try self.lab.run("pid", "n1").lines[0]
        let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/fd").compactMap {
            try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(process)/fd/\($0)")
        }
        #expect(open.contains(new) && !open.contains(old))
    }

    @Test("the level of a component changes while the daemon runs, and falls back by itself")
    func levels() throws {
        let changed = try self.lab.control(node: "n1", "logs", "level", "enrolment", "trace", "--for", "2s")
        #expect(changed.status == 0 && changed.output.contains("trace"), "\(changed)")
        _ = try eventually(
            "the level to fall back", { try self.lab.ask("n1", "/v1/logs/levels", as: LogLevelSummary.self) }
        ) { $0.components.allSatisfy { !$0.isChanged } }
        let control = try self.lab.control("logs", "level", "--control")
        #expect(control.status == 0 && control.output.contains("discovery"), "\(control)")
        let unknown = try self.lab.control(node: "n1", "logs", "level", "engine-room", "debug")
        #expect(unknown.status == 1 && unknown.errors.contains("enrolment"), "\(unknown)")
    }

    @Test("top and connections --watch show what goes on")
    func live() throws {
        let held = try self.lab.start("n1", ["/bin/sh", "-c", "exec sleep 60"])
        defer { held.terminate() }
        let top = try self.lab.control(node: "n1", "top", "--once", "--interval", "1s")
        #expect(top.status == 0 && top.output.hasPrefix("n1: CPU "), "\(top)")
        let json = try self.lab.control(node: "n1", "top", "--once", "--interval", "1s", "-o", "json")
        #expect(json.output.contains("\"nm-loop-0\""), "\(json)")
        let watch = try self.lab.control(node: "n1", "connections", "--watch", "--count", "2", "--interval", "1s")
        #expect(watch.status == 0, "\(watch)")
    }

    @Test("a bug report holds what there is and none of the secrets")
    func bugreport() throws {
        let token = try self.lab.control("join-token", "create", "--node", "elsewhere", "-o", "json")
        struct Token: Decodable { var token: String }
        var secrets = [try JSONDecoder().decode(Token.self, from: Data(token.output.utf8)).token]
        // Everything that the daemons keep for themselves, line by line: keys and tokens.
        for path in try self.secretFiles() {
            let text = try String(contentsOfFile: path, encoding: .utf8)
            secrets += text.split(separator: "\n").map(String.init).filter { $0.count >= 24 && !$0.hasPrefix("-----") }
        }
        #expect(secrets.count >= 4, "\(secrets.count)")
        // A careless hand put one where it does not belong.
        let before = try String(contentsOfFile: Self.file, encoding: .utf8)
        defer {
            try? before.write(toFile: Self.file, atomically: false, encoding: .utf8)
            try? self.hangUp()
        }
        try self.configure(["joinToken": secrets[0], "nmjt": secrets[0]])
        _ = try eventually("the refusal", { try self.lab.status("n1") }) { $0.configurationProblems?.isEmpty == false }

        let file = "\(Self.directory)/report.tar.gz"
        defer { try? FileManager.default.removeItem(atPath: file) }
        let result = try self.lab.control(node: "n1", "bugreport", "--file", file)
        #expect(result.status == 0 && !result.errors.contains("missing: node/"), "\(result)")
        let listed = try Program.run(["/bin/tar", "-tzf", file])
        for name in [
            "node/config.json", "node/metrics.txt", "node/bpf.json", "node/log-lines.json", "control/nodes.json",
        ] {
            #expect(listed.output.contains(name), "\(name) in \(listed)")
        }
        let directory = "\(Self.directory)/report"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        #expect(try Program.run(["/bin/tar", "-xzf", file, "-C", directory]).status == 0)
        let patterns = "\(Self.directory)/report.patterns"
        try secrets.joined(separator: "\n").write(toFile: patterns, atomically: false, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: patterns) }
        let found = try Program.run(["/bin/grep", "-rlFf", patterns, directory])
        #expect(found.status == 1 && found.output.isEmpty, "secrets in \(found.output)")
        // The patterns are right: they find what they were made of.
        #expect(try Program.run(["/bin/grep", "-lFf", patterns, self.secretFiles()[0]]).status == 0)
    }

    /// The files below the lab's data directories that hold a private key or a token.
    private func secretFiles() throws -> [String] {
        let names = try #require(FileManager.default.enumerator(atPath: Self.directory)).compactMap { $0 as? String }
        return names.map { "\(Self.directory)/\($0)" }.filter { path in
            guard let data = FileManager.default.contents(atPath: path), data.count < 65_536 else { return false }
            return path.hasSuffix("admin.token")
                || String(decoding: data, as: UTF8.self).contains("PRIVATE KEY-----")
        }
    }

    private func hangUp() throws {
        for pid in try self.lab.layout().node("n1").pids { kill(pid, SIGHUP) }
    }

    /// Adds keys to the node's configuration file and has it read.
    private func configure(_ values: [String: String]) throws {
        // The lab writes JSON, which is YAML in one mapping.
        let text = try String(contentsOfFile: Self.file, encoding: .utf8)
        let object = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any] ?? [:]
        let merged = object.merging(values) { $1 }
        try JSONSerialization.data(withJSONObject: merged, options: .prettyPrinted).write(
            to: URL(filePath: Self.file))
        try self.hangUp()
    }
}
