// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshConfiguration
import MeshIdentity
import MeshModel
import MeshStore
import Testing

@testable import MeshControl

@Suite struct DataDirectoryTests {
    @Test func whatIsMadeAtTheFirstStartStays() async throws {
        let directory = try TemporaryDirectory()
        var (token, fingerprint) = ("", "")
        do {
            let first = try await Fixture(directory)
            token = first.plane.adminToken
            fingerprint = try first.plane.authority.fingerprint().description
            try first.plane.store.close()
        }
        let second = try await Fixture(directory)
        #expect(second.plane.adminToken == token)
        #expect(try second.plane.authority.fingerprint().description == fingerprint)
        #expect(token.utf8.count == 43)
        for name in ["ca.pem", "admin.token", "control.db"] {
            let attributes = try FileManager.default.attributesOfItem(atPath: directory.path + "/" + name)
            #expect(attributes[.posixPermissions] as? Int == 0o600, "\(name)")
        }
    }

    @Test func twoProcessesDoNotShareIt() async throws {
        let directory = try TemporaryDirectory()
        let first = try await Fixture(directory)
        let error = await #expect(throws: ControlError.self) { try await Fixture(directory) }
        #expect(error?.message.contains("in use") == true)
        #expect(first.plane.directory.path == directory.path)
    }

    @Test func anotherTrustDomainIsRefused() async throws {
        let directory = try TemporaryDirectory()
        do { try await Fixture(directory).plane.store.close() }
        let error = await #expect(throws: ControlError.self) {
            try await Fixture(directory) { $0.trustDomain = "other.example" }
        }
        #expect(error?.message.contains("--trust-domain mesh.internal") == true)
    }

    @Test func aLostAuthorityIsNotReplacedWhileNodesRelyOnIt() async throws {
        let directory = try TemporaryDirectory()
        do {
            let first = try await Fixture(directory)
            _ = try await first.joined("n1")
            try first.plane.store.close()
        }
        try FileManager.default.removeItem(atPath: directory.path + "/ca.pem")
        let error = await #expect(throws: ControlError.self) { try await Fixture(directory) }
        #expect(error?.message.contains("missing") == true)
        #expect(!FileManager.default.fileExists(atPath: directory.path + "/ca.pem"))
    }

    @Test(arguments: ["", "garbage", "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"])
    func aDamagedAuthorityIsNamed(_ content: String) async throws {
        let directory = try TemporaryDirectory()
        try Data(content.utf8).write(to: URL(filePath: directory.path + "/ca.pem"))
        let error = await #expect(throws: ControlError.self) { try await Fixture(directory) }
        #expect(error?.message.contains("ca.pem is damaged") == true)
    }

    @Test func aWeakTokenIsRefused() async throws {
        let directory = try TemporaryDirectory()
        try Data("short\n".utf8).write(to: URL(filePath: directory.path + "/admin.token"))
        let error = await #expect(throws: ControlError.self) { try await Fixture(directory) }
        #expect(error?.message.contains("admin.token") == true)
    }
}
