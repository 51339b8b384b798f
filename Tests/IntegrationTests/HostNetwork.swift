// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import Testing

/// Workloads at their node's own addresses: `web` (port 7200) and `api` (7201) on `n1`, with `box` in a namespace of its
/// own beside them; `alice` and the IPv6-only `six` on `n2`. See Resources/host.yaml.
@Suite("host network", .serialized, .lab("host"))
struct HostNetwork {
    let lab = Lab.current

    private static let script = ["/usr/bin/python3", "\(Lab.resources)/sockets.py"]
    private static let strict = """
        apiVersion: security.istio.io/v1
        kind: PeerAuthentication
        metadata: {name: strict, namespace: shop}
        spec: {mtls: {mode: STRICT}}
        """

    /// What a client sees and is told by `sockets.py at`.
    private struct Answer: Decodable {
        struct End: Decodable, Equatable {
            var ip: String
            var port: Int

            init(from decoder: any Decoder) throws {
                var list = try decoder.unkeyedContainer()
                self.ip = try list.decode(String.self)
                self.port = try list.decode(Int.self)
            }
        }
        struct Seen: Decodable {
            var peer: End
            var own: End
        }
        struct Told: Decodable {
            var name: String
            var peer: End
        }
        var seen: Seen
        var told: Told
    }

    /// nil: refused.
    private func dial(_ client: String, _ host: String, _ port: Int) throws -> Answer? {
        try Self.read(self.lab.execute(client, Self.script + ["dial", "plain", host, "\(port)"]))
    }

    private static func read(_ result: ProgramResult) throws -> Answer? {
        #expect(result.status == 0, "\(result)")
        let line = result.lines.first ?? ""
        if line == "refused" { return nil }
        guard line.hasPrefix("{") else { throw ProgramError(description: "\(result)") }
        return try JSONDecoder().decode(Answer.self, from: Data(line.utf8))
    }

    /// The last finished connection to a port that a node's log has, once it is there.
    private func entry(_ node: String, _ mark: Int, to port: Int) throws -> AccessEntry {
        let log = try eventually("the connection in the access log", { try self.lab.accessLog(node, since: mark) }) {
            $0.contains { $0.destination.hasSuffix(":\(port)") }
        }
        return try #require(log.last { $0.destination.hasSuffix(":\(port)") })
    }

    static let addresses = ["10.200.0.11", "fd00:200::11"]

    @Test("two workloads at one address have two identities", arguments: Self.addresses)
    func identities(address: String) throws {
        for (name, port) in [("web", 7200), ("api", 7201)] {
            let mark = try self.lab.accessLogMark("n1")
            // Where it listens has to reach the client's node first.
            let answer = try eventually("\(name) at \(address)", { try self.dial("alice", address, port) }) {
                $0?.told.name == name
            }
            let seen = try #require(answer)
            #expect(seen.seen.peer.ip == address && seen.told.peer == seen.seen.own)
            let entry = try self.entry("n1", mark, to: port)
            #expect(entry.ends == "shop/alice shop/\(name)" && entry.wire == "splice")
            #expect(entry.destinationIdentity == "spiffe://mesh.internal/ns/shop/sa/\(name)")
        }
    }

    @Test("connections between workloads of one host carry their identities", arguments: Self.addresses)
    func between(address: String) throws {
        for (client, port, server) in [("web", 7201, "api"), ("api", 7200, "web"), ("box", 7200, "web")] {
            let mark = try self.lab.accessLogMark("n1")
            let answer = try #require(try self.dial(client, address, port))
            #expect(answer.told.name == server && answer.seen.peer.ip == address)
            let entry = try self.entry("n1", mark, to: port)
            #expect(entry.ends == "shop/\(client) shop/\(server)" && entry.wire == "local")
            #expect(entry.sourceIdentity == "spiffe://mesh.internal/ns/shop/sa/\(client)")
            let host = address.contains(":") ? "[\(address)]" : address
            let explained = try self.lab.explanation("n1", "shop/\(client)", "\(host):\(port)")
            #expect(explained.verdict == "allowed", "\(explained)")
            #expect(explained.steps.contains { $0.detail.contains("shop/\(server)") }, "\(explained)")
        }
        // A workload reaches itself without a detour, and the namespaced one as everywhere.
        #expect(try self.dial("web", address, 7200)?.told.name == "web")
        let box = address.contains(":") ? "fd00:201:1::3" : "10.201.1.3"
        #expect(try self.dial("web", box, 7202)?.told.name == "box")
    }

    @Test("a service leads to a host-network workload, and to IPv6 from a client that has nothing else")
    func services() throws {
        let services: [ServiceSummary] = try self.lab.ask("n2", "/v1/services")
        for name in ["web", "api"] {
            for address in try #require(services.first { $0.name == name }).addresses {
                #expect(try self.dial("alice", address, 80)?.told.name == name)
                if address.contains(":") {
                    let answer = try #require(try self.dial("six", address, 80))
                    #expect(answer.told.name == name && answer.told.peer.ip == "fd00:201:2::2")
                }
            }
        }
    }

    @Test("STRICT holds against other processes of the host, over loopback too; probes pass by rule")
    func strict() throws {
        let places = ["127.0.0.1", "::1"] + Self.addresses
        // Nobody is kept out before.
        for place in places { #expect(try self.dial("n1", place, 7200)?.told.name == "web", "\(place)") }
        try self.lab.apply(Self.strict)
        defer { try? self.lab.delete(Self.strict) }
        for place in places {
            _ = try eventually("\(place) to be closed", { try self.dial("n1", place, 7200)?.told.name ?? "refused" }) {
                $0 == "refused"
            }
            let answer = try self.dial("api", place, 7200)
            #expect(answer?.told.name == "web", "\(place)")
            #expect(try self.probe(place, 7200)?.told.name == "web", "\(place)")
        }
        // From another node without the mesh.
        for place in Self.addresses { #expect(try self.dial("n2", place, 7200) == nil) }
        #expect(try self.dial("alice", Self.addresses[0], 7200)?.told.name == "web")
    }

    @Test("only ports on which an enrolled workload listens are steered")
    func otherPorts() throws {
        try self.lab.apply(Self.strict)
        defer { try? self.lab.delete(Self.strict) }
        let server = try self.lab.start("n1", Self.script + ["at", "stranger", "7300"])
        _ = try eventually("the server", { server.output }) { $0.contains("serving") }
        let mark = try self.lab.accessLogMark("n1")
        try withExtendedLifetime(server) {
            for place in Self.addresses {
                let answer = try #require(try self.dial("n2", place, 7300))
                #expect(answer.told.name == "stranger" && answer.told.peer == answer.seen.own)
            }
        }
        #expect(try self.lab.accessLog("n1", since: mark).allSatisfy { !$0.destination.hasSuffix(":7300") })
    }

    @Test("a workload that leaves takes its ports along, and the others of the host stay")
    func leaving() throws {
        try self.lab.apply(Self.strict)
        defer { try? self.lab.delete(Self.strict) }
        _ = try eventually("STRICT", { try self.dial("n2", Self.addresses[0], 7200)?.told.name ?? "refused" }) {
            $0 == "refused"
        }
        try self.lab.run("unenrol", "web")
        for place in Self.addresses {
            // It is a process of the host like any other now, and its neighbour is what it was.
            #expect(try self.dial("n2", place, 7200)?.told.name == "web")
            #expect(try self.dial("n2", place, 7201) == nil)
            #expect(try self.dial("alice", place, 7201)?.told.name == "api")
        }
        try self.lab.run("enrol", "web")
        for place in Self.addresses {
            let found = try eventually("web at \(place)", { try self.dial("alice", place, 7200)?.told.name ?? "-" }) {
                $0 == "web"
            }
            #expect(found == "web")
            #expect(try self.dial("n2", place, 7200) == nil)
        }
    }

    @Test("a restarted daemon knows whose ports are whose")
    func restart() throws {
        try self.lab.apply(Self.strict)
        defer { try? self.lab.delete(Self.strict) }
        try self.lab.run("restart", "n1")
        for (name, port) in [("web", 7200), ("api", 7201)] {
            for place in Self.addresses {
                _ = try eventually("\(name) at \(place)", { try self.dial("alice", place, port)?.told.name ?? "-" }) {
                    $0 == name
                }
                #expect(try self.dial("n2", place, port) == nil)
            }
            let mark = try self.lab.accessLogMark("n1")
            #expect(try self.dial("box", Self.addresses[0], port)?.told.name == name)
            #expect(try self.entry("n1", mark, to: port).ends == "shop/box shop/\(name)")
        }
    }

    /// Dials from the cgroup that the node's configuration names for probes.
    private func probe(_ host: String, _ port: Int) throws -> Answer? {
        let node = try self.lab.layout().node("n1")
        let cgroup = URL(filePath: node.cgroup).deletingLastPathComponent().appending(path: "probe").path
        let command = (Self.script + ["dial", "plain", host, "\(port)"]).joined(separator: " ")
        return try Self.read(
            try Program.run([
                "/bin/sh", "-c",
                "echo $$ > \(cgroup)/cgroup.procs && exec nsenter --net=/run/netns/\(node.network) \(command)",
            ]))
    }
}
