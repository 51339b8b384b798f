// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI

/// The enrolments that outlive the daemon: one JSON file in the data directory, replaced atomically.
package struct EnrolmentStore: Sendable {
    private let path: String

    package init(dataDirectory: String) {
        self.path = "\(dataDirectory)/enrolments.json"
    }

    /// - Throws: ``EnrolmentError`` when the file is there but cannot be read; a missing file is an empty list.
    package func load() throws(EnrolmentError) -> [EnrolRequest] {
        guard FileManager.default.fileExists(atPath: self.path) else { return [] }
        do {
            return try AdminJSON.decoder.decode([EnrolRequest].self, from: Data(contentsOf: URL(filePath: self.path)))
        } catch {
            throw EnrolmentError(
                .storage, "\(self.path) cannot be read (\(error)); repair or remove it, then enrol the workloads again")
        }
    }

    package func save(_ requests: [EnrolRequest]) throws(EnrolmentError) {
        do {
            let data = try AdminJSON.encoder.encode(requests)
            // Atomic: written beside and renamed, so that a crash leaves the old list or the new one.
            try data.write(to: URL(filePath: self.path), options: .atomic)
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: self.path)
        } catch {
            throw EnrolmentError(.storage, "\(self.path) cannot be written: \(error)")
        }
    }
}
