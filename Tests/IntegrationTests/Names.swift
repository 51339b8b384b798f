// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import Testing

/// Workloads that ask for names as programs do: `alice` her node's resolver, `private` and `six` one that knows more than
/// that, `lost` one that is not there; `left` is left alone, `guest` has the host's network. See Resources/names.yaml.
@Suite("names", .serialized, .lab("names"))
struct Names {
    let lab = Lab.current

    static let script = ["/usr/bin/python3", "\(Lab.resources)/names.py"]
    static let service = "web.shop.mesh.internal"

    /// What `names.py ask` has seen.
    private struct Answer: Decodable {
        var code: Int
        var answers: [String]
        /// It came from whom it should come from.
        var ok: Bool
        var tcp: Bool?
        var second: Int?
    }

    private func ask(
        _ client: String, _ how: String, _ server: String, _ name: String, _ type: String = "A"
    ) throws -> Answer {
        let result = try self.lab.execute(client, Self.script + ["ask", how, server, name, type])
        guard result.status == 0, let line = result.lines.last else { throw ProgramError(description: "\(result)") }
        return try JSONDecoder().decode(Answer.self, from: Data(line.utf8))
    }

    func addresses() throws -> [String] {
        let services: [ServiceSummary] = try self.lab.ask("n1", "/v1/services")
        return try #require(services.first { $0.name == "web" }).addresses
    }

    /// `getent`, which is glibc with everything that a program has: resolv.conf, search list, both families.
    func getent(_ client: String, _ name: String) throws -> [String] {
        let result = try self.lab.execute(client, ["getent", "ahosts", name])
        return Set(result.lines.compactMap { $0.split(separator: " ").first.map(String.init) }).sorted()
    }

    static let clients = ["alice", "private", "six", "lost", "guest"]

    @Test(
        "the mesh's names are answered whomever a workload asks, in full and by its search list",
        arguments: Self.clients)
    func glibc(client: String) throws {
        let expected = try self.addresses().sorted()
        for name in [Self.service, "web", "web.shop", "WEB.Shop.Mesh.Internal."] {
            #expect(try self.getent(client, name) == expected, "\(name)")
        }
        #expect(try self.getent(client, "nobody.shop.mesh.internal").isEmpty)
    }

    @Test("a C library without nodemesh's knowledge finds them too: musl, linked statically")
    func musl() throws {
        let program = FileManager.default.temporaryDirectory.appending(path: "lookup-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: program) }
        let built = try Program.run(["/usr/bin/musl-gcc", "-static", "-O1", "-o", program, "\(Lab.resources)/lookup.c"])
        try #require(built.status == 0, "\(built)")
        let expected = try self.addresses().sorted()
        for client in Self.clients {
            for name in [Self.service, "web"] {
                let result = try self.lab.execute(client, [program, name])
                #expect(result.lines.sorted() == expected, "\(client) \(result)")
            }
        }
        #expect(
            try self.lab.execute("private", [program, "private.example"]).lines.sorted() == ["10.9.9.9", "fd00:9::9"])
        #expect(try self.lab.execute("private", [program, "gone.example"]).status == 1)
    }

    @Test("a program reaches a service on another node by its name")
    func curl() throws {
        let server = try self.lab.start("web", ["python3", "-u", "-m", "http.server", "7007"])
        for client in ["alice", "lost"] {
            _ = try eventually(
                "the answer to \(client)",
                {
                    try self.lab.execute(
                        client,
                        [
                            "curl", "-sS", "-m", "10", "-o", "/dev/null", "-w", "%{http_code} %{remote_ip}",
                            "http://\(Self.service):8080/",
                        ]
                    )
                    .output
                }
            ) { $0.hasPrefix("200 ") }
        }
        withExtendedLifetime(server) {}
    }

    @Test("dig sees types, absence with its authority, and the case of its question")
    func dig() throws {
        func dig(_ words: String...) throws -> ProgramResult {
            try self.lab.execute("alice", ["dig", "+tries=1", "+time=8"] + words)
        }
        let addresses = try self.addresses()
        let four = try #require(addresses.first { !$0.contains(":") })
        let six = try #require(addresses.first { $0.contains(":") })
        #expect(try dig("+short", Self.service).lines == [four])
        #expect(try dig("+short", "+tcp", Self.service, "AAAA").lines == [six])
        #expect(try dig("+short", "-x", four).lines == [Self.service + "."])
        #expect(try dig("+short", "web.shop.svc.cluster.local").lines == [four])
        #expect(try dig("+short", "pods.shop.mesh.internal").lines == ["10.201.2.1"])
        #expect(try dig("+short", "pods.shop.mesh.internal", "AAAA").lines == ["fd00:201:2::1"])
        for type in ["HTTPS", "SVCB", "SRV", "MX"] {
            let answer = try dig(Self.service, type)
            #expect(answer.output.contains("status: NOERROR") && answer.output.contains("ANSWER: 0"), "\(answer)")
            #expect(answer.output.contains("SOA"), "\(answer)")
        }
        let none = try dig("nobody.shop.mesh.internal")
        #expect(none.output.contains("status: NXDOMAIN") && none.output.contains("SOA"), "\(none)")
        let odd = try dig("wEb.sHoP.mEsH.internal", "+dnssec", "+bufsize=4096")
        #expect(odd.output.contains("wEb.sHoP.mEsH.internal.") && odd.output.contains("flags: qr aa rd"), "\(odd)")
        #expect(odd.output.contains("udp: 1232"))
        // dig names whom it asked: not nodemeshd.
        #expect(odd.output.contains("SERVER: 10.200.0.11#53"), "\(odd)")
        #expect(try dig("+short", "text.example", "TXT").lines == ["\"hello\""])
    }

    @Test("other names come from whom the workload asks, and from its node where nobody answers")
    func resolvers() throws {
        #expect(try self.getent("alice", "public.example") == ["198.51.100.7", "2001:db8::7"])
        for client in ["private", "six"] {
            #expect(try self.getent(client, "public.example") == ["10.9.9.7"])
            #expect(try self.getent(client, "private.example") == ["10.9.9.9", "fd00:9::9"])
            // Of the alias's domain the mesh answers for what it knows.
            #expect(try self.getent(client, "mesh-like.svc.cluster.local") == ["10.9.9.8"])
        }
        #expect(try self.getent("alice", "private.example").isEmpty)
        #expect(try self.getent("lost", "public.example") == ["198.51.100.7", "2001:db8::7"])
        #expect(try self.getent("guest", "public.example") == ["198.51.100.7", "2001:db8::7"])
    }

    @Test("whose DNS is left alone asks its own, which does not know the mesh")
    func leftAlone() throws {
        #expect(try self.getent("left", Self.service).isEmpty)
        let metrics = try self.lab.metrics("n1")
        #expect(metrics["nodemesh_steering_decisions_total{reason=\"dns_failed_open\"}"] == 0)
    }

    @Test(
        "answers come from the resolver that was asked, whatever kind of socket",
        arguments: [
            ("private", "10.202.1.2"), ("six", "fd00:202:1::2"), ("lost", "192.0.2.53"), ("guest", "127.0.0.53"),
            ("alice", "169.254.20.10"),
        ])
    func sources(client: String, server: String) throws {
        let expected = try self.addresses().filter { !$0.contains(":") }
        for how in ["connected", "all", "tcp"] {
            let answer = try self.ask(client, how, server, Self.service)
            #expect(answer.ok && answer.answers == expected, "\(how) \(answer)")
        }
        let servers = server.contains(":") ? "\(server),10.202.1.2,2001:db8::53" : "\(server),192.0.2.99,192.0.2.98"
        for how in ["each", "many"] where how == "each" || !server.contains(":") {
            let answer = try self.ask(client, how, servers, Self.service)
            #expect(answer.ok && answer.answers == expected, "\(how) \(answer)")
        }
        #expect(try self.ask(client, "tcp", server, Self.service).second == 3)
    }

    @Test("an answer too long for a datagram comes over TCP")
    func long() throws {
        let answer = try self.ask("private", "connected", "10.202.1.2", "many.example")
        #expect(answer.ok && answer.tcp == true && answer.answers.count == 120)
        #expect(try self.getent("private", "many.example").count == 120)
        // The next time it is remembered.
        #expect(try self.ask("private", "tcp", "10.202.1.2", "many.example").answers.count == 120)
        let sources = try self.lab.metrics("n1").filter { $0.key.hasPrefix("nodemesh_dns_queries_total") }
        #expect(sources.contains { $0.key.contains("source=\"cache\"") && $0.value > 0 })
    }

    @Test("nonsense over UDP and TCP leaves it answering")
    func hostile() throws {
        let before = try self.lab.run("pid", "n1").lines
        let result = try self.lab.execute("alice", Self.script + ["hostile", "192.0.2.53", "2000"])
        let answer = try JSONDecoder().decode(Answer.self, from: Data(try #require(result.lines.last).utf8))
        #expect(try answer.ok && answer.answers == self.addresses().filter { !$0.contains(":") }, "\(result)")
        #expect(try self.lab.run("pid", "n1").lines == before)
    }

    @Test("an operator sees whose names are answered, and where an answer comes from")
    func operators() throws {
        let status: DNSStatus = try self.lab.ask("n1", "/v1/dns")
        #expect(status.isOn && status.upstreams == ["10.200.0.11"])
        #expect(
            status.workloads.map(\.workload).sorted()
                == ["shop/alice", "shop/guest", "shop/lost", "shop/private", "shop/six"])
        #expect(status.workloads.allSatisfy { $0.problem == nil })
        let table = try self.lab.control(node: "n1", "dns", "status")
        #expect(table.status == 0 && table.output.contains("5 of 5 answered"), "\(table)")
        let local = try self.lab.control(node: "n1", "dns", "lookup", Self.service, "--workload", "shop/alice")
        #expect(local.status == 0 && local.output.contains("noerror from local"), "\(local)")
        let other = try self.lab.control(
            node: "n1", "dns", "lookup", "private.example", "--workload", "shop/private", "--resolver", "10.202.1.2")
        #expect(other.status == 0 && other.output.contains("10.9.9.9"), "\(other)")
        #expect(try self.lab.control(node: "n1", "dns", "lookup", "nobody.shop.mesh.internal").status == 1)
        #expect(try self.lab.control(node: "n1", "dns", "lookup", "a..b").status == 1)
    }

    @Test("without the daemon each asks its own resolver, and with it again the mesh's names are back")
    func daemonGone() throws {
        try self.lab.run("kill", "n1", "-9")
        #expect(try self.getent("private", "private.example") == ["10.9.9.9", "fd00:9::9"])
        #expect(try self.ask("private", "connected", "10.202.1.2", "private.example").ok)
        #expect(try self.ask("private", "tcp", "10.202.1.2", "private.example").answers == ["10.9.9.9"])
        #expect(try self.getent("private", Self.service).isEmpty)
        try self.lab.run("start", "n1")
        let expected = try self.addresses().sorted()
        let found = try eventually("the mesh's names", { try self.getent("private", Self.service) }) { $0 == expected }
        #expect(found == expected)
        let status: NodeStatus = try self.lab.ask("n1", "/v1/status")
        #expect((status.steering["dns_failed_open"] ?? 0) > 0)
    }

    @Test("a port that is taken is told of, names go by, and it is tried again")
    func portTaken() throws {
        try self.lab.run("unenrol", "private")
        let taken = try self.lab.start(
            "private",
            ["python3", "-uc", "import socket; s = socket.create_server(('127.0.0.1', 15053)); print('up'); input()"])
        _ = try eventually("the port to be taken", { taken.output }) { $0.contains("up") }
        try self.lab.run("enrol", "private")
        let status: DNSStatus = try self.lab.ask("n1", "/v1/dns")
        let problem = try #require(status.workloads.first { $0.workload == "shop/private" }).problem
        #expect(problem?.contains("15053") == true && problem?.contains("ss -ltnp") == true)
        #expect(try self.lab.control(node: "n1", "dns", "status").status == 1)
        #expect(try self.getent("private", "private.example") == ["10.9.9.9", "fd00:9::9"])
        taken.terminate()
        _ = try taken.result()
        let expected = try self.addresses().sorted()
        #expect(
            try eventually("the mesh's names", { try self.getent("private", Self.service) }) { $0 == expected }
                == expected)
    }
}
