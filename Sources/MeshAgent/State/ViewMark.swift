// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshIdentity

/// How far this node has come, in a small file beside its view: an older view that is put in place is told by it, and
/// the time of the last confirmation can be kept up without writing the view again.
package struct ViewMark: Codable, Sendable, Hashable {
    package var node: String
    /// Of the newest view that was written.
    package var sequence: UInt64
    /// See ``ViewSnapshot/Header/revision``.
    package var revision: UInt64
    package var confirmedAt: Date

    private static let purpose = "view mark"

    package init(node: String, sequence: UInt64, revision: UInt64, confirmedAt: Date) {
        self.node = node
        self.sequence = sequence
        self.revision = revision
        self.confirmedAt = confirmedAt
    }

    /// JSON, then its seal.
    package func encoded(key: StateKey) throws -> [UInt8] {
        let bytes = Array(try JSONEncoder().encode(self))
        return bytes + key.seal(bytes, for: Self.purpose)
    }

    package static func decode(_ bytes: [UInt8], key: StateKey, node: String) throws(StateRefusal) -> ViewMark {
        let sealed = bytes.count - StateKey.sealBytes
        guard sealed > 0, key.isSeal(Array(bytes[sealed...]), of: Array(bytes[..<sealed]), for: Self.purpose),
            let mark = try? JSONDecoder().decode(ViewMark.self, from: Data(bytes[..<sealed]))
        else { throw StateRefusal(.damaged, "was damaged, or written by somebody else than this node") }
        guard mark.node == node else { throw StateRefusal(.foreign, "is of node \(mark.node), and this is \(node)") }
        return mark
    }
}
