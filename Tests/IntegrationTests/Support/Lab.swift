// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI

/// A mesh in network namespaces on this machine, driven by `Tools/lab`.
struct Lab: Sendable {
    /// The lab of the suite that runs.
    @TaskLocal static var current = Lab(topology: "none")

    /// The name of a topology file in Resources, without its suffix.
    var topology: String

    static let repository = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()
    static let resources = Self.repository.appending(path: "Tests/IntegrationTests/Resources").path
    static let name = ProcessInfo.processInfo.environment["NODEMESH_LAB"] ?? "test"
    static let tool = Self.repository.appending(path: "Tools/lab").path

    /// Runs `Tools/lab` and returns what it printed.
    ///
    /// - Throws: ``ProgramError`` when it fails.
    @discardableResult
    func run(_ arguments: String..., within seconds: Double = 90) throws -> ProgramResult {
        let result = try Program.run([Self.tool, "--name", Self.name] + arguments, within: seconds)
        guard result.status == 0 else { throw ProgramError(description: "\(result)") }
        return result
    }

    /// Runs a command in a workload, on a node or beside the control plane; its status is for the caller to judge.
    func execute(_ target: String, _ command: [String], input: String? = nil, within seconds: Double = 30) throws
        -> ProgramResult
    {
        try Program.run(
            [Self.tool, "--name", Self.name, "exec", target, "--"] + command, input: input, within: seconds)
    }

    /// Starts a command in a workload.
    func start(_ target: String, _ command: [String]) throws -> Program {
        try Program([Self.tool, "--name", Self.name, "exec", target, "--"] + command)
    }

    /// Runs `peer.py` in a workload.
    func peer(_ target: String, _ arguments: String..., within seconds: Double = 30) throws -> ProgramResult {
        try self.execute(target, Self.peer + arguments, within: seconds)
    }

    func startPeer(_ target: String, _ arguments: String...) throws -> Program {
        try self.start(target, Self.peer + arguments)
    }

    private static let peer = ["/usr/bin/python3", "\(Self.resources)/peer.py"]

    /// Runs nodemeshctl; its status is for the caller to judge.
    func control(node: String? = nil, _ arguments: String..., input: String? = nil) throws -> ProgramResult {
        let target = node.map { [$0] } ?? []
        return try Program.run([Self.tool, "--name", Self.name, "ctl"] + target + ["--"] + arguments, input: input)
    }

    /// Applies resources.
    ///
    /// - Throws: ``ProgramError`` when they are refused.
    func apply(_ documents: String) throws {
        let result = try self.control("apply", "-f", "-", input: documents)
        guard result.status == 0 else { throw ProgramError(description: "\(result)") }
    }

    /// Deletes the resources that documents name, if they are there.
    func delete(_ documents: String) throws {
        let result = try self.control("delete", "--ignore-not-found", "-f", "-", input: documents)
        guard result.status == 0 else { throw ProgramError(description: "\(result)") }
    }

    /// What a node's admin API answers.
    func ask<Answer: Decodable>(_ node: String, _ path: String, as: Answer.Type = Answer.self) throws -> Answer {
        let socket = "/run/nodemesh-lab/\(Self.name)/nodes/\(node)/run/nodemeshd.sock"
        let result = try Program.run(["/usr/bin/curl", "-sS", "--unix-socket", socket, "http://localhost\(path)"])
        return try AdminJSON.decoder.decode(Answer.self, from: Data(result.output.utf8))
    }

    func status(_ node: String) throws -> NodeStatus { try self.ask(node, "/v1/status") }

    func connections(_ node: String) throws -> [ConnectionSummary] { try self.ask(node, "/v1/connections") }

    /// A node's metrics: name and labels as they stand there, and value.
    func metrics(_ node: String) throws -> [String: Double] {
        let text = try self.execute(node, ["curl", "-sS", "http://127.0.0.1:15020/metrics"])
        let pairs: [(String, Double)] = text.lines.filter { !$0.hasPrefix("#") }.compactMap { line in
            guard let space = line.lastIndex(of: " "), let value = Double(line[line.index(after: space)...]) else {
                return nil
            }
            return (String(line[..<space]), value)
        }
        return Dictionary(pairs) { $1 }
    }

    /// What a node's daemon has open.
    func descriptors(_ node: String) throws -> OpenDescriptors {
        try OpenDescriptors(process: self.run("pid", node).lines[0])
    }

    /// The virtual IP of a service in namespace `shop`.
    func address(of service: String) throws -> String {
        let services: [ServiceSummary] = try self.ask("n1", "/v1/services")
        guard let address = services.first(where: { $0.name == service })?.addresses.first else {
            throw ProgramError(description: "node n1 knows no service \(service), only \(services)")
        }
        return address
    }

    /// What a node says would become of a connection.
    func explanation(_ node: String, _ source: String, _ destination: String) throws -> Explanation {
        try self.ask(node, "/v1/explain?source=\(source)&destination=\(destination)")
    }

    /// Where things of the lab are, as `Tools/lab status -o json` tells.
    func layout() throws -> LabLayout {
        try JSONDecoder().decode(LabLayout.self, from: Data(self.run("status", "-o", "json").output.utf8))
    }

    /// The length of a node's access log when all connections before this have ended and are in it.
    func accessLogMark(_ node: String) throws -> Int {
        _ = try eventually("no connection on \(node)", { try self.status(node).connectionsOpen }) { $0 == 0 }
        var last = -1
        return try eventually("the access log of \(node) to rest", { try self.accessLog(node).count }) { count in
            defer { last = count }
            return count == last
        }
    }

    /// The entries of a node's access log since a mark, oldest first.
    func accessLog(_ node: String, since mark: Int = 0) throws -> [AccessEntry] {
        let path = "/run/nodemesh-lab/\(Self.name)/logs/\(node)-access.log"
        guard let data = FileManager.default.contents(atPath: path) else { return [] }
        return try String(decoding: data, as: UTF8.self).split(separator: "\n").dropFirst(mark).map {
            try JSONDecoder().decode(AccessEntry.self, from: Data($0.utf8))
        }
    }
}

/// The parts of `Tools/lab status -o json` that tests need.
struct LabLayout: Decodable {
    struct Place: Decodable {
        var name: String
        var address: String
        var network: String
        var cgroup: String
        var log: String
        var pids: [Int32]
    }

    var nodes: [Place]
    var workloads: [Place]

    func node(_ name: String) throws -> Place { try Self.find(name, in: self.nodes) }
    func workload(_ name: String) throws -> Place { try Self.find(name, in: self.workloads) }

    private static func find(_ name: String, in places: [Place]) throws -> Place {
        guard let place = places.first(where: { $0.name == name }) else {
            throw ProgramError(description: "the lab has no \(name)")
        }
        return place
    }
}
