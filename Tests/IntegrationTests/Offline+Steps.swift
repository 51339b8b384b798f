// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import Testing

extension Offline {
    func authority() throws -> AuthorityStatus {
        let answer = try self.lab.control("ca", "status", "-o", "json")
        return try AdminJSON.decoder.decode(AuthorityStatus.self, from: Data(answer.output.utf8))
    }

    /// A new token for a node's next start: its own, or another's.
    func giveToken(_ node: String, of owner: String? = nil) throws {
        let answer = try self.lab.control("join-token", "create", "--node", owner ?? node, "-o", "json")
        let token = try AdminJSON.decoder.decode(JoinTokenResponse.self, from: Data(answer.output.utf8))
        let place = "/run/nodemesh-lab/\(Lab.name)/nodes/\(node)"
        try (token.token + "\n").write(toFile: place + "/join-token", atomically: true, encoding: .utf8)
        try token.caFingerprint.write(toFile: place + "/ca-fingerprint", atomically: true, encoding: .utf8)
    }

    func step(_ name: String, _ option: String? = nil) throws {
        let answer = try option.map { try self.lab.control("ca", name, $0) } ?? self.lab.control("ca", name)
        guard answer.status == 0 else { throw ProgramError(description: "\(answer)") }
    }

    /// Both nodes have on disk what a start without the control plane needs.
    func waitForState() throws {
        try self.lab.run("wait")
        _ = try eventually("the state of both nodes on disk") {
            try ["n1", "n2"].allSatisfy { node in
                let data = try self.data(node)
                let names = (try? FileManager.default.contentsOfDirectory(atPath: "\(data)/svids")) ?? []
                let size = try self.lab.status(node).services
                return FileManager.default.fileExists(atPath: "\(data)/view.mark") && !names.isEmpty && size > 0
            }
        } until: {
            $0
        }
        // What was last told is written some time after it, and news of one workload may come after that of another.
        var times: [Date?] = []
        _ = try eventually("the views to rest", within: 40) {
            let former = times
            times = try ["n1", "n2"].map { node in
                let view = try self.data(node) + "/view.snapshot"
                return try FileManager.default.attributesOfItem(atPath: view)[.modificationDate] as? Date
            }
            return try times == former && times.allSatisfy { $0.map { $0.timeIntervalSinceNow < -2 } ?? false }
                && ["n1", "n2"].allSatisfy { try self.lab.status($0).controlPlane.isViewKept == true }
        } until: {
            $0
        }
    }

    func restartControl() throws {
        try self.lab.run("start", "control")
        try self.restartedControl()
    }

    func restartedControl() throws {
        for node in ["n1", "n2"] {
            _ = try eventually("\(node) to be connected", within: 40, { try self.lab.status(node).controlPlane }) {
                $0.isConnected
            }
        }
        try self.lab.run("wait")
    }

    func data(_ node: String) throws -> String { "/run/nodemesh-lab/\(Lab.name)/nodes/\(node)/data" }

    func service(_ name: String) throws -> String {
        """
        apiVersion: v1
        kind: Service
        metadata: {name: \(name), namespace: shop}
        spec: {selector: {app: far}, ports: [{port: 80, targetPort: 7006}]}
        """
    }

    /// Adds a line to a node's configuration and has it take effect.
    func configure(_ node: String, _ line: String) throws -> (path: String, text: Data) {
        let path = "/run/nodemesh-lab/\(Lab.name)/nodes/\(node)/config.yaml"
        let text = try Data(contentsOf: URL(filePath: path))
        try (line + "\n").write(toFile: path, atomically: true, encoding: .utf8)
        try self.reload(node)
        return (path, text)
    }

    func restore(_ config: (path: String, text: Data)) throws {
        try config.text.write(to: URL(filePath: config.path))
        try self.reload("n1")
    }

    func reload(_ node: String) throws {
        let process = try #require(Int32(try self.lab.run("pid", node).lines[0]))
        #expect(kill(process, SIGHUP) == 0)
    }

    static func must(_ command: String...) throws {
        let result = try Program.run(command)
        guard result.status == 0 else { throw ProgramError(description: "\(result)") }
    }

    /// The end of the first knock that went well after so many lines, in seconds since the Unix epoch.
    static func firstSuccess(in output: String, after lines: Int) -> Double? {
        for line in output.split(separator: "\n").dropFirst(lines) {
            let words = line.split(separator: " ")
            if words.count == 5, words[4] == "ok" { return Double(words[2]) }
        }
        return nil
    }

    /// When a process was started, in seconds since the Unix epoch.
    static func start(of process: String) throws -> Double {
        let text = try String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8)
        let fields = text[text.index(after: try #require(text.lastIndex(of: ")")))...].split(separator: " ")
        let ticks = try #require(Double(fields[19])) / Double(sysconf(Int32(_SC_CLK_TCK)))
        var now = timespec()
        clock_gettime(CLOCK_BOOTTIME, &now)
        let uptime = Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
        return Date().timeIntervalSince1970 - (uptime - ticks)
    }

    func expectTalk(_ client: String, _ address: String, sourceLocation: SourceLocation = #_sourceLocation)
        throws
    {
        let answer = try eventually(
            "\(client) to talk to \(address)", { try self.lab.peer(client, "talk", address, "7000", "hello").output }
        ) { $0 == "hello" }
        #expect(answer == "hello", sourceLocation: sourceLocation)
    }
}
