// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshModel
import MeshResources
import MeshStore
import Testing

/// A store in a directory of its own that goes when the test does.
final class TemporaryStore: Sendable {
    let directory: String
    var path: String { self.directory + "/control.db" }

    init() throws {
        self.directory = NSTemporaryDirectory() + "nodemesh-store-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: self.directory, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: self.directory) }

    func open(_ prefixes: [String] = ["240.240.0.0/16"]) throws -> Store {
        try Store(path: self.path, virtualPrefixes: try prefixes.map { try #require(IPPrefix($0)) })
    }
}

let start = Date(timeIntervalSince1970: 1_800_000_000)

func service(_ name: String, json: String = "{}", address: VirtualAddress = .automatic) -> ResourceChange {
    ResourceChange(key: key(name), json: json, address: address)
}

func key(_ name: String) -> ResourceKey { ResourceKey(kind: .service, namespace: "shop", name: name) }

func workload(
    _ name: String, node: String, address: String, account: String = "web", host: Bool = false, weight: UInt32 = 1
) throws -> WorkloadRecord {
    WorkloadRecord(
        id: WorkloadID(namespace: "shop", name: name), node: node, serviceAccount: account, labels: ["app": name],
        addresses: [try #require(IPAddress(address))], isHostNetwork: host, weight: weight)
}

extension Store {
    /// Lets a node join and returns its record.
    func joined(_ node: String, serial: String = UUID().uuidString) async throws -> NodeRecord {
        let token = UUID().uuidString
        try await self.addJoinToken(
            id: token, hash: [1, 2, 3], node: node, createdAt: start, expiresAt: start.addingTimeInterval(60))
        try await self.join(
            JoinAttempt(tokenID: token, hash: [1, 2, 3], node: node), joinID: UUID().uuidString,
            certificate: certificate(serial, node: node), now: start)
        return try #require(try await self.node(node))
    }
}

func certificate(_ serial: String, node: String) -> CertificateRecord {
    CertificateRecord(
        serial: serial, identity: "spiffe://mesh.internal/node/\(node)", node: node, notBefore: start,
        notAfter: start.addingTimeInterval(86_400))
}
