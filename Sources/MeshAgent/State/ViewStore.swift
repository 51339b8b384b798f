// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshIdentity

/// The files of a node's view, in its data directory (mode 0700): `view.snapshot`, `view.mark` and `state.key`, under
/// which both are sealed. Each is replaced as a whole.
package struct ViewStore: Sendable {
    /// What was found at start.
    package struct Found: Sendable {
        package var snapshot: ViewSnapshot?
        /// What was there and is not used, as a sentence.
        package var refusal: (file: String, reason: StateRefusal)?
        /// At least this, so that what is written next is newer than all that was.
        package var sequence: UInt64 = 0
        package var revision: UInt64 = 0
    }

    package let directory: String
    private let key: StateKey
    private static let keyBytes = 4096
    private static let markBytes = 65_536

    private var snapshotPath: String { "\(self.directory)/view.snapshot" }
    private var markPath: String { "\(self.directory)/view.mark" }

    /// Reads the key, or makes one: what lies there under a lost key is refused.
    package init(directory: String) throws(ControlPlaneError) {
        self.directory = directory
        let path = "\(directory)/state.key"
        let text: String?
        do throws(StateRefusal) {
            text = try SecretFile.readPrivate(path, limit: Self.keyBytes).map { String(decoding: $0, as: UTF8.self) }
        } catch {
            // A key that others could read proves nothing any more.
            guard error.code == .exposed else { throw ControlPlaneError(.storage, "\(path) \(error)") }
            text = nil
        }
        if let key = text.flatMap({ StateKey(text: $0) }) {
            self.key = key
            return
        }
        self.key = StateKey()
        try SecretFile.prepare(directory: directory)
        try SecretFile.write(self.key.text + "\n", to: path)
    }

    /// What this node wrote last, unless it is bad, somebody else's, or older than what it wrote since.
    package func load(node: String, trustDomain: String) -> Found {
        var found = Found()
        do throws(StateRefusal) {
            let mark = try self.mark(node: node)
            found.sequence = mark?.sequence ?? 0
            found.revision = mark?.revision ?? 0
            guard let bytes = try SecretFile.readPrivate(self.snapshotPath, limit: ViewSnapshot.maximumBytes + 64)
            else { return found }
            var snapshot = try ViewSnapshot.decode(bytes, key: self.key, node: node, trustDomain: trustDomain)
            found.sequence = max(found.sequence, snapshot.header.sequence)
            found.revision = max(found.revision, snapshot.header.revision)
            guard let mark else {
                throw StateRefusal(.rolledBack, "lies there without view.mark, so it may be an old one put back")
            }
            guard snapshot.header.sequence >= mark.sequence else {
                throw StateRefusal(
                    .rolledBack,
                    "is number \(snapshot.header.sequence), and this node has written number \(mark.sequence) since")
            }
            snapshot.header.confirmedAt = max(snapshot.header.confirmedAt, mark.confirmedAt)
            found.snapshot = snapshot
        } catch {
            found.refusal = (self.snapshotPath, error)
        }
        return found
    }

    private func mark(node: String) throws(StateRefusal) -> ViewMark? {
        guard let bytes = try SecretFile.readPrivate(self.markPath, limit: Self.markBytes) else { return nil }
        do throws(StateRefusal) {
            return try ViewMark.decode(bytes, key: self.key, node: node)
        } catch {
            throw StateRefusal(error.code, "cannot be judged, since view.mark \(error)")
        }
    }

    /// - Throws: ``ControlPlaneError`` when it cannot be written; what was there before stays.
    package func save(_ snapshot: ViewSnapshot) throws {
        try SecretFile.write(bytes: try snapshot.encoded(key: self.key), to: self.snapshotPath)
        // After it: a crash in between leaves a view that is newer than the mark, which is no fault.
        let header = snapshot.header
        try self.save(
            ViewMark(
                node: header.node, sequence: header.sequence, revision: header.revision,
                confirmedAt: header.confirmedAt))
    }

    package func save(_ mark: ViewMark) throws {
        try SecretFile.write(bytes: try mark.encoded(key: self.key), to: self.markPath)
    }

    /// What the node knew under another identity is nothing to it any more.
    package static func clear(directory: String) {
        for name in ["view.snapshot", "view.mark"] { SecretFile.remove("\(directory)/\(name)") }
    }
}
