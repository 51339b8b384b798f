// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshModel
import MeshStore
import Testing

@Suite struct FileTests {
    let files: TemporaryStore

    init() throws { self.files = try TemporaryStore() }

    @Test func everythingIsThereAfterReopening() async throws {
        var store = try self.files.open()
        _ = try await store.apply([service("a")])
        let node = try await store.joined("n1", serial: "ab")
        _ = try await store.register(
            NodeRegistration(
                node: "n1", joinID: node.joinID, addresses: [IPAddress(ipv4: 1)], tunnelPort: 15008, generation: 7,
                workloads: [try workload("w", node: "n1", address: "10.0.0.1")]), now: start, isAlive: { _ in true })
        let before = try await store.snapshot()
        try store.close()
        store = try self.files.open()
        let after = try await store.snapshot()
        #expect(after.resources == before.resources)
        #expect(after.nodes == before.nodes)
        #expect(after.workloads == before.workloads)
        #expect(after.nodes.first?.generation == 7)
        #expect(try await store.certificates().map(\.serial) == ["ab"])
    }

    @Test func onlyTheOwnerMayReadIt() async throws {
        let store = try self.files.open()
        _ = try await store.apply([service("a")])
        for name in try FileManager.default.contentsOfDirectory(atPath: self.files.directory) {
            let attributes = try FileManager.default.attributesOfItem(atPath: self.files.directory + "/" + name)
            #expect(attributes[.posixPermissions] as? Int == 0o600, "\(name)")
        }
    }

    @Test func aDamagedFileIsNamed() throws {
        try Data(repeating: 0x5a, count: 65_536).write(to: URL(filePath: self.files.path))
        let error = #expect(throws: StoreError.self) { try self.files.open() }
        #expect(error?.code == .corrupt)
        #expect(error?.message.contains(self.files.path) == true)
    }

    @Test func damageInsideIsFoundWhenOpening() async throws {
        let store = try self.files.open()
        _ = try await store.apply((0..<400).map { service("service-\($0)", json: String(repeating: "x", count: 200)) })
        try store.close()
        var bytes = try Data(contentsOf: URL(filePath: self.files.path))
        try #require(bytes.count > 60_000)
        for index in 20_000..<40_000 { bytes[index] = 0xff }
        try bytes.write(to: URL(filePath: self.files.path))
        let error = #expect(throws: StoreError.self) { try self.files.open() }
        #expect(error?.code == .corrupt)
    }

    @Test func anOlderFileIsBroughtUpToDate() async throws {
        let store = try self.files.open()
        let node = try await store.joined("n1")
        let held = try workload("w", node: "n1", address: "10.0.0.1")
        _ = try await store.register(
            NodeRegistration(
                node: "n1", joinID: node.joinID, addresses: [IPAddress(ipv4: 1)], tunnelPort: 15008, generation: 1,
                workloads: [held]), now: start, isAlive: { _ in true })
        try store.close()
        try self.execute("ALTER TABLE nodes DROP COLUMN locality")
        try self.execute("ALTER TABLE workloads DROP COLUMN weight")
        try self.execute("ALTER TABLE workloads DROP COLUMN ports")
        try self.execute("ALTER TABLE nodes DROP COLUMN trustedRoots")
        try self.execute("ALTER TABLE nodes DROP COLUMN issuingRoots")
        try self.execute("DROP TABLE authorities")
        try self.execute("DELETE FROM grdb_migrations WHERE identifier != '1 initial'")
        let again = try self.files.open()
        #expect(try await again.node("n1")?.locality == Locality())
        #expect(try await again.workloads() == [held])
        #expect(held.weight == 1)
    }

    @Test func aNewerSchemaIsRefused() async throws {
        try self.files.open().close()
        try self.execute("INSERT INTO grdb_migrations VALUES ('999 of the future')")
        let error = #expect(throws: StoreError.self) { try self.files.open() }
        #expect(error?.code == .foreign)
        #expect(error?.message.contains("newer version") == true)
    }

    @Test func anotherProgramsDatabaseIsLeftAlone() throws {
        try self.execute("CREATE TABLE theirs (x)")
        let before = try Data(contentsOf: URL(filePath: self.files.path))
        let error = #expect(throws: StoreError.self) { try self.files.open() }
        #expect(error?.code == .foreign)
        #expect(try Data(contentsOf: URL(filePath: self.files.path)) == before)
    }

    @Test func aMissingDirectoryIsExplained() throws {
        let prefix = try #require(IPPrefix("240.240.0.0/16"))
        let error = #expect(throws: StoreError.self) {
            try Store(path: self.files.directory + "/absent/control.db", virtualPrefixes: [prefix])
        }
        #expect(error?.code == .unavailable)
    }

    @Test func aWriteReplacesTheWholeFile() throws {
        let path = self.files.directory + "/secret"
        #expect(try PrivateFile.read(path) == nil)
        try PrivateFile.write(Array("first and long".utf8), to: path)
        try PrivateFile.write(Array("second".utf8), to: path)
        #expect(try PrivateFile.read(path) == Array("second".utf8))
        #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o600)
        #expect(try FileManager.default.contentsOfDirectory(atPath: self.files.directory) == ["secret"])
        #expect(throws: StoreError.self) { try PrivateFile.read(path, limit: 3) }
    }

    private func execute(_ sql: String) throws { try RawDatabase.execute(sql, path: self.files.path) }
}
