// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import Testing

/// Two nodes whose telemetry is all switched on: what they export is what the reference, the dashboard and the alerts say,
/// and a collector and a log reader get what happened. See Resources/observability.yaml.
@Suite("two nodes: observability", .serialized, .lab("observability"))
struct Observability {
    private let lab = Lab.current
    private static let far = "10.201.2.1"
    private static let near = "10.201.1.2"

    private func metrics(_ target: String) throws -> Exposition {
        let port = target == "control" ? 15014 : 15020
        let answer = try self.lab.execute(target, ["curl", "-sS", "http://127.0.0.1:\(port)/metrics"])
        try #require(answer.status == 0, "\(answer)")
        return Exposition(answer.output)
    }

    /// Connections of each kind, so that series are there.
    private func makeTraffic() throws {
        let service = try self.lab.address(of: "far")
        for (address, port) in [(Self.far, "7000"), (Self.near, "7000"), (service, "80")] {
            #expect(try self.lab.peer("alice", "talk", address, port, "hello").output == "hello")
        }
        _ = try self.lab.peer("alice", "end", "10.201.9.9", "7000")
        _ = try eventually("connections to end", { try self.lab.status("n1").connectionsOpen }) { $0 == 0 }
    }

    // MARK: - Metrics

    @Test(
        "every metric of the daemons is in the reference, and the other way round", arguments: ["n1", "n2", "control"])
    func reference(_ target: String) throws {
        try self.makeTraffic()
        let families = try self.metrics(target).families
        let rows = try #require(try MetricsReference().rows[target == "control" ? "nodemesh-control" : "nodemeshd"])
        #expect(Set(rows.keys).subtracting(families.keys) == [], "documented, not exported")
        #expect(Set(families.keys).subtracting(rows.keys) == [], "exported, not documented")
        for (name, family) in families {
            guard let row = rows[name] else { continue }
            #expect(row.type == family.type, "\(name)")
            if !family.labels.isEmpty { #expect(row.labels == family.labels, "\(name)") }
        }
    }

    @Test("the dashboard and the alerts ask only for what is there")
    func queries() throws {
        try self.makeTraffic()
        let exported = try [self.metrics("n1"), self.metrics("control")]
        let reference = try MetricsReference().rows
        var queries: [String] = []
        let directory = Lab.repository.appending(path: "dashboards")
        let dashboard = try Data(contentsOf: directory.appending(path: "nodemesh.json"))
        Self.collect("expr", in: try JSONSerialization.jsonObject(with: dashboard), into: &queries)
        #expect(queries.count > 40)
        let rules = try Program.run([
            "/usr/bin/python3", "-c", "import json,sys,yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))",
            directory.appending(path: "nodemesh-alerts.yaml").path,
        ])
        Self.collect("expr", in: try JSONSerialization.jsonObject(with: Data(rules.output.utf8)), into: &queries)
        // What Prometheus itself adds to each series.
        let own: Set<String> = ["instance", "job", "le"]
        for query in queries {
            let names = QueryNames(query)
            var known = own
            for metric in names.metrics {
                let found = exported.first { $0.families[$0.family(of: metric.name)] != nil }
                let page = try #require(found, "no daemon exports \(metric.name): \(query)")
                let family = page.family(of: metric.name)
                let row = try #require(reference.values.compactMap { $0[family] }.first, "\(family)")
                #expect(metric.labels.subtracting(own).isSubset(of: row.labels), "\(query)")
                if row.type == "histogram" {
                    #expect(family != metric.name, "a histogram has no such series: \(query)")
                }
                known.formUnion(row.labels)
            }
            #expect(names.grouping.isSubset(of: known), "\(names.grouping.subtracting(known)): \(query)")
        }
    }

    private static func collect(_ key: String, in value: Any, into found: inout [String]) {
        if let list = value as? [Any] {
            for item in list { Self.collect(key, in: item, into: &found) }
        } else if let object = value as? [String: Any] {
            for (name, item) in object {
                if name == key, let text = item as? String { found.append(text) }
                Self.collect(key, in: item, into: &found)
            }
        }
    }

    @Test("promtool finds nothing wrong with the alerts, and they do what their tests say")
    func alerts() throws {
        let directory = Lab.repository.appending(path: "dashboards").path
        let checked = try Program.run(["/usr/bin/promtool", "check", "rules", "\(directory)/nodemesh-alerts.yaml"])
        #expect(checked.status == 0, "\(checked)")
        let tested = try Program.run(["/usr/bin/promtool", "test", "rules", "\(directory)/nodemesh-alerts.test.yaml"])
        #expect(tested.status == 0, "\(tested)")
    }

    @Test("Istio's byte counters and the health of the path advance while a connection lives")
    func longConnection() throws {
        let before = try (self.metrics("n1"), self.metrics("n2"))
        let ends = [#"source_workload="alice""#, #"destination_workload="far""#]
        let held = try self.lab.startPeer("alice", "hold", Self.far, "7000", "2")
        _ = try eventually("the connections", { held.output }) { $0.contains("holding") }
        _ = try eventually("bytes on n1 and n2 before the end", { try (self.metrics("n1"), self.metrics("n2")) }) {
            zip([before.0, before.1], [$0.0, $0.1]).allSatisfy { old, new in
                ["sent", "received"].allSatisfy { direction in
                    let name = "istio_tcp_\(direction)_bytes_total"
                    return new.sum(name, ends[0], ends[1]) > old.sum(name, ends[0], ends[1])
                }
            }
                && $0.0.sum("nodemesh_tcp_segments_sent_total", #"peer_node="n2""#)
                    > before.0.sum("nodemesh_tcp_segments_sent_total", #"peer_node="n2""#)
        }
        let page = try self.metrics("n1")
        #expect(page.sum("nodemesh_tcp_smoothed_rtt_seconds", #"peer_node="n2""#) > 0)
        let istio = page.samples.keys.filter {
            $0.hasPrefix("istio_tcp_connections_opened_total{") && $0.contains(ends[0]) && $0.contains(ends[1])
        }
        #expect(
            istio.contains {
                $0.contains(#"source_canonical_service="web",source_canonical_revision="v2""#)
                    && $0.contains(#"connection_security_policy="mutual_tls""#) && $0.contains(#"reporter="source""#)
            }, "\(istio)")
        #expect(try self.metrics("n2").sum("istio_tcp_connections_opened_total", #"reporter="destination""#) > 0)
        #expect(try held.result().status == 0)
    }

    // MARK: - The access log

    @Test("a long connection has a line when it opens, now and then, and when it ends, with its phases")
    func longLines() throws {
        let mark = try self.lab.accessLogMark("n1")
        let held = try self.lab.startPeer("alice", "hold", Self.far, "7000", "1")
        _ = try eventually("the connection", { held.output }) { $0.contains("holding") }
        _ = try eventually("periodic lines", { try self.lab.accessLog("n1", since: mark) }) { lines in
            lines.count { $0.event == "periodic" } >= 2
        }
        #expect(try held.result().status == 0)
        let lines = try eventually("the last line", { try self.lab.accessLog("n1", since: mark) }) {
            $0.last?.event == "close"
        }
        #expect(lines.first?.event == "open")
        #expect(lines.filter { $0.event == "close" }.count == 1)
        let end = try #require(lines.last)
        for phase in ["capture", "policy", "dial", "tls", "connect", "setup", "first_byte_received"]
        where !(phase == "dial" || phase == "tls") || end.phases?["tls"] != nil {
            #expect(end.phases?[phase] != nil, "\(phase) is missing in \(end)")
        }
        let phases = try #require(end.phases)
        #expect(try #require(phases["setup"]) >= max(phases["tls"] ?? 0, phases["connect"] ?? 0))
    }

    // MARK: - Traces

    private struct Span: Decodable {
        var resource: [String: String]
        var trace: String
        var span: String
        var parent: String
        var kind: Int
        var start: UInt64
        var end: UInt64
        var attributes: [String: String]
    }

    @Test("both nodes send their spans of a connection, as one trace, again when the collector was busy")
    func traces() throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "nm-otlp-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        var collectors: [Program] = []
        defer { for collector in collectors { collector.terminate() } }
        for node in ["n1", "n2"] {
            let collector = try self.lab.start(
                node,
                [
                    "/usr/bin/python3", "\(Lab.resources)/collector.py", "4318", directory.appending(path: node).path,
                    node == "n1" ? "1" : "0",
                ])
            collectors.append(collector)
            _ = try eventually("the collector on \(node)", { collector.output }) { $0.contains("ready") }
        }
        let text = "traced-\(UUID().uuidString)"
        #expect(try self.lab.peer("alice", "talk", Self.far, "7000", text).output == text)
        func spans(_ node: String) throws -> [Span] {
            let data = FileManager.default.contents(atPath: directory.appending(path: node).path) ?? Data()
            return try data.split(separator: UInt8(ascii: "\n")).map { try JSONDecoder().decode(Span.self, from: $0) }
        }
        func isMeant(_ span: Span) -> Bool { span.attributes["nodemesh.bytes.sent"] == "\(text.utf8.count)" }
        let client = try #require(
            try eventually("the client's span", within: 60, { try spans("n1") }) { $0.contains(where: isMeant) }
                .first(where: isMeant))
        let server = try #require(
            try eventually("the server's span", within: 60, { try spans("n2") }) { $0.contains(where: isMeant) }
                .first(where: isMeant))
        #expect(client.trace == server.trace && client.trace.count == 32)
        #expect(server.parent == client.span && client.parent.isEmpty)
        #expect(client.kind == 3 && server.kind == 2)
        #expect(client.start < client.end)
        #expect(client.resource["service.name"] == "nodemeshd" && client.resource["host.name"] == "n1")
        #expect(server.resource["host.name"] == "n2")
        for span in [client, server] {
            #expect(span.attributes["nodemesh.source.identity"] == "spiffe://mesh.internal/ns/shop/sa/alice")
            #expect(span.attributes["nodemesh.destination.identity"] == "spiffe://mesh.internal/ns/shop/sa/far")
            #expect(span.attributes["nodemesh.close.reason"] == "completed")
            #expect(span.attributes["network.transport"] == "tcp")
        }
        let headers = directory.appending(path: "n1.headers").path
        #expect(try String(contentsOfFile: headers, encoding: .utf8).hasPrefix("secret\n"))
        #expect(try self.metrics("n1").samples["nodemesh_trace_spans_sent_total"] ?? 0 > 0)
    }
}
