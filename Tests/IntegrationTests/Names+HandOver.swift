// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import Testing

/// `steady` on n2, whose resolver does not know the mesh: one look-up that goes past nodemeshd is told that there is no
/// such name.
extension Names {
    /// What `names.py steady` says of one way of asking.
    private struct Asked: Decodable {
        var asked: Int
        var failed: [String]
        /// Look-ups whose first attempt was lost.
        var again: Int
        /// Seconds.
        var slowest: Double
    }

    /// Of `Tools/lab manager`.
    private struct ManagerStatus: Decodable {
        var ready: Bool
        var stored: [String]
    }

    private static func last(_ asking: Program) throws -> [String: Asked] {
        guard let line = asking.output.split(separator: "\n").last else { return [:] }
        return try JSONDecoder().decode([String: Asked].self, from: Data(line.utf8))
    }

    /// Returns when the service manager has everything that it is to keep for a crash: its store rests.
    private func waitForKept() throws {
        var (last, rests) = ([String](), 0)
        _ = try eventually(
            "the store to rest",
            { try JSONDecoder().decode(ManagerStatus.self, from: Data(self.lab.run("manager", "n2").output.utf8)) }
        ) { status in
            rests = status.ready && !status.stored.isEmpty && status.stored == last ? rests + 1 : 0
            last = status.stored
            return rests >= 8
        }
    }

    @Test("no look-up fails while the daemon is restarted, replaced and killed")
    func handedOver() throws {
        let expected = try self.addresses().sorted()
        _ = try eventually("the mesh's names", { try self.getent("steady", Self.service) }) { $0 == expected }
        let asking = try self.lab.start(
            "steady", Self.script + ["steady", "10.202.2.2", Self.service, "public.example", "20"])
        for (verb, kind) in [
            ("restart", "restart"), ("take-over", "take_over"), ("restart", "restart"), ("take-over", "take_over"),
            ("restart", "crash"), ("restart", "restart"),
        ] {
            try self.waitForKept()
            let before = try Self.last(asking)
            if kind == "crash" { try self.lab.run("restart", "n2", "-9") } else { try self.lab.run(verb, "n2") }
            _ = try eventually("the hand-over", { try? self.lab.status("n2").handOver?.kind }) { $0 == kind }
            // Everybody has been answered by the new one.
            _ = try eventually("answers", { try Self.last(asking) }) { now in
                before.allSatisfy { (now[$0.key]?.asked ?? 0) > $0.value.asked + 20 }
            }
        }
        let result = try asking.result()
        #expect(result.status == 0, "\(result)")
        let ways = try Self.last(asking)
        #expect(ways.count == 4)
        for (way, asked) in ways.sorted(by: { $0.key < $1.key }) {
            print("\(way): \(asked.asked) look-ups, \(asked.again) asked again, slowest \(asked.slowest) s")
            #expect(asked.failed.isEmpty && asked.asked > 100, "\(way) \(asked)")
            // A crash may lose what was being answered; nothing else loses anything.
            #expect(asked.again <= 1, "\(way) \(asked)")
        }
        let status: DNSStatus = try self.lab.ask("n2", "/v1/dns")
        #expect(status.workloads.map(\.workload) == ["shop/steady", "shop/web"])
        #expect(status.workloads.allSatisfy { $0.problem == nil })
    }
}
