// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import Testing

/// `alice` and `near` on one node, which both ask for acceleration.
@Suite("acceleration", .serialized, .lab("sockmap"))
struct Acceleration {
    let lab = Lab.current

    private func talk(_ port: String, _ verb: String, _ arguments: String...) throws -> (ProgramResult, AccessEntry) {
        let mark = try self.lab.accessLogMark("n1")
        let command = ["/usr/bin/python3", "\(Lab.resources)/peer.py", verb, TwoNodes.Server.near.address, port]
        let answer = try self.lab.execute("alice", command + arguments, within: 60)
        let entries = try eventually("the access log", { try self.lab.accessLog("n1", since: mark) }) { !$0.isEmpty }
        return (answer, entries[0])
    }

    private func open(_ port: String) throws {
        _ = try eventually("an accelerated connection") {
            try self.talk(port, "touch", "1").1.wire
        } until: {
            $0 == "direct"
        }
    }

    @Test("bytes are counted exactly, and the access log says what moved them", arguments: [1, 1_000, 100_000])
    func bytes(_ size: Int) throws {
        try self.open("7000")
        let (answer, entry) = try self.talk("7000", "talk", String(repeating: "x", count: size))
        #expect(answer.output.utf8.count == size)
        #expect(entry.wire == "direct" && entry.engine == "sockmap")
        #expect(entry.bytesSent == UInt64(size) && entry.bytesReceived == UInt64(size), "\(entry)")
        #expect(entry.reason == "completed")
    }

    @Test("a server that does not read has the connection ended")
    func stalled() throws {
        try self.open("7005")
        let (_, entry) = try self.talk("7005", "flood", "5")
        #expect(entry.reason == "sockmap_stalled", "\(entry)")
        #expect(entry.detail?.contains("sockmapCap (4194304 bytes)") == true)
        #expect(entry.engine == "sockmap" && entry.bytesSent <= 4 << 20)
    }

    @Test("a workload with a program that socket maps break is not accelerated")
    func unfit() throws {
        try self.open("7000")
        let directory = NSTemporaryDirectory() + "unfit-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try FileManager.default.copyItem(atPath: "/bin/sleep", toPath: "\(directory)/nginx")
        // It lives until the test ends it: how soon a sweep sees it depends on the machine.
        let program = try self.lab.start("near", ["\(directory)/nginx", "300"])
        defer { program.terminate() }
        for engine in [nil, "sockmap"] {
            _ = try eventually("connections by \(engine ?? "TCP")") {
                try self.talk("7000", "talk", "x").1
            } until: {
                $0.wire == "direct" && $0.engine == engine
            }
            program.terminate()
        }
    }
}
