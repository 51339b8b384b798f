// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI

/// The enrolments that outlive the daemon, in the data directory: a JSON file each, so that one more costs the same
/// with five hundred as with none, and one for all templates. Each is replaced atomically.
package struct EnrolmentStore: Sendable {
    private let directory: String
    private let templatesPath: String
    /// All in one, as they were kept once.
    private let formerPath: String

    package init(dataDirectory: String) {
        self.directory = "\(dataDirectory)/enrolments"
        self.templatesPath = "\(dataDirectory)/templates.json"
        self.formerPath = "\(dataDirectory)/enrolments.json"
    }

    /// - Throws: ``EnrolmentError`` when a file is there but cannot be read; none is an empty list.
    package func load() throws(EnrolmentError) -> [EnrolRequest] {
        if FileManager.default.fileExists(atPath: self.formerPath) { try self.convert() }
        guard FileManager.default.fileExists(atPath: self.directory) else { return [] }
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: self.directory)
        } catch {
            throw EnrolmentError(.storage, "\(self.directory) cannot be read: \(error)")
        }
        // What a crash left half-written has another suffix.
        var requests: [EnrolRequest] = []
        for name in names.sorted() where name.hasSuffix(".json") {
            requests.append(try Self.read("\(self.directory)/\(name)"))
        }
        return requests
    }

    private func convert() throws(EnrolmentError) {
        for request in try Self.read(self.formerPath) as [EnrolRequest] { try self.save(request) }
        do {
            try FileManager.default.removeItem(atPath: self.formerPath)
        } catch {
            throw EnrolmentError(.storage, "\(self.formerPath) cannot be removed: \(error)")
        }
    }

    package func save(_ request: EnrolRequest) throws(EnrolmentError) {
        do {
            try FileManager.default.createDirectory(
                atPath: self.directory, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        } catch CocoaError.fileWriteFileExists {
        } catch {
            throw EnrolmentError(.storage, "\(self.directory) cannot be made: \(error)")
        }
        try Self.write(request, to: self.path(request))
    }

    package func remove(_ request: EnrolRequest) throws(EnrolmentError) {
        do {
            try FileManager.default.removeItem(atPath: self.path(request))
        } catch CocoaError.fileNoSuchFile {
        } catch {
            throw EnrolmentError(.storage, "\(self.path(request)) cannot be removed: \(error)")
        }
    }

    package func loadTemplates() throws(EnrolmentError) -> [EnrolTemplate] {
        guard FileManager.default.fileExists(atPath: self.templatesPath) else { return [] }
        return try Self.read(self.templatesPath)
    }

    package func save(_ templates: [EnrolTemplate]) throws(EnrolmentError) {
        try Self.write(templates, to: self.templatesPath)
    }

    /// Names of workloads have no dots.
    private func path(_ request: EnrolRequest) -> String {
        "\(self.directory)/\(request.namespace).\(request.name).json"
    }

    private static func read<Value: Decodable>(_ path: String) throws(EnrolmentError) -> Value {
        do {
            return try AdminJSON.decoder.decode(Value.self, from: Data(contentsOf: URL(filePath: path)))
        } catch {
            throw EnrolmentError(
                .storage, "\(path) cannot be read (\(error)); repair or remove it, then enrol what it named again")
        }
    }

    private static func write(_ value: some Encodable, to path: String) throws(EnrolmentError) {
        do {
            let data = try AdminJSON.encoder.encode(value)
            // Atomic: written beside and renamed, so that a crash leaves the old file or the new one. The directories
            // are root's alone.
            try data.write(to: URL(filePath: path), options: .atomic)
        } catch {
            throw EnrolmentError(.storage, "\(path) cannot be written: \(error)")
        }
    }
}
