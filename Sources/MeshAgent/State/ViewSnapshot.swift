// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAPI
import MeshIdentity
import SwiftProtobuf

/// A node's view of the mesh as it lies on disk:
///
///     magic, format | header: length, JSON | records: length, message; ... | seal
///
/// The seal is a MAC over all before it, under a key that only this node has, so that a damaged or cut file, another
/// node's, or one that somebody without the key made is told from this node's own. Lengths are 32 bits, big endian.
package struct ViewSnapshot: Sendable {
    package struct Header: Codable, Sendable, Hashable {
        package var node: String
        package var trustDomain: String
        /// Grows with every file that this node writes.
        package var sequence: UInt64
        /// The newest of the control plane's store that this node has seen; 0: it does not tell.
        package var revision: UInt64
        package var savedAt: Date
        /// When the control plane last confirmed the view.
        package var confirmedAt: Date

        package init(
            node: String, trustDomain: String, sequence: UInt64, revision: UInt64, savedAt: Date, confirmedAt: Date
        ) {
            self.node = node
            self.trustDomain = trustDomain
            self.sequence = sequence
            self.revision = revision
            self.savedAt = savedAt
            self.confirmedAt = confirmedAt
        }
    }

    /// Raised when an older program could not read what a newer one writes.
    static let format: UInt8 = 1
    static let magic = Array("NMVIEW\0".utf8)
    static let purpose = "view"
    /// A larger view is not kept.
    package static let maximumBytes = 256 << 20

    package var header: Header
    package var responses: [Envoy_Service_Discovery_V3_DeltaDiscoveryResponse]

    package init(header: Header, responses: [Envoy_Service_Discovery_V3_DeltaDiscoveryResponse]) {
        self.header = header
        self.responses = responses
    }

    /// - Throws: ``ControlPlaneError`` when it is larger than may be kept.
    package func encoded(key: StateKey) throws -> [UInt8] {
        var bytes = Self.magic + [Self.format]
        Self.append(Array(try JSONEncoder().encode(self.header)), to: &bytes)
        for response in self.responses {
            Self.append(try response.serializedBytes(), to: &bytes)
            guard bytes.count <= Self.maximumBytes else {
                throw ControlPlaneError(
                    .storage, "the view has more than \(Self.maximumBytes >> 20) MiB; a restart needs the control plane"
                )
            }
        }
        return bytes + key.seal(bytes, for: Self.purpose)
    }

    /// - Throws: ``StateRefusal`` for all but what ``encoded(key:)`` gave on this node.
    package static func decode(
        _ bytes: [UInt8], key: StateKey, node: String, trustDomain: String
    ) throws(StateRefusal) -> ViewSnapshot {
        let sealed = bytes.count - StateKey.sealBytes
        guard sealed > Self.magic.count, bytes.starts(with: Self.magic) else {
            throw StateRefusal(.damaged, "is no view of a node, or was cut")
        }
        let format = bytes[Self.magic.count]
        guard format == Self.format else {
            throw StateRefusal(.format, "has format \(format), and this version of nodemeshd reads \(Self.format)")
        }
        var rest = bytes[(Self.magic.count + 1)..<sealed]
        let content = Array(bytes[..<sealed])
        let isOurs = key.isSeal(Array(bytes[sealed...]), of: content, for: Self.purpose)
        let header = Self.next(&rest).flatMap { try? JSONDecoder().decode(Header.self, from: Data($0)) }
        guard isOurs else {
            // Only for the words: nothing of it is believed.
            if let other = header?.node, other != node {
                throw StateRefusal(.foreign, "was written by another node, which says that it is \(other.prefix(253))")
            }
            throw StateRefusal(.damaged, "was damaged, or written by somebody else than this node")
        }
        guard let header else { throw StateRefusal(.damaged, "has no readable header") }
        guard header.node == node, header.trustDomain == trustDomain else {
            throw StateRefusal(
                .foreign,
                "is of node \(header.node) in \(header.trustDomain), and this is \(node) in \(trustDomain)")
        }
        var responses: [Envoy_Service_Discovery_V3_DeltaDiscoveryResponse] = []
        while !rest.isEmpty {
            guard let record = Self.next(&rest),
                let response = try? Envoy_Service_Discovery_V3_DeltaDiscoveryResponse(serializedBytes: Array(record))
            else { throw StateRefusal(.damaged, "has an unreadable record") }
            responses.append(response)
        }
        return ViewSnapshot(header: header, responses: responses)
    }

    private static func append(_ record: [UInt8], to bytes: inout [UInt8]) {
        withUnsafeBytes(of: UInt32(clamping: record.count).bigEndian) { bytes += $0 }
        bytes += record
    }

    private static func next(_ bytes: inout ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard bytes.count >= 4 else { return nil }
        let count = bytes.prefix(4).reduce(0) { $0 << 8 | Int($1) }
        guard count <= bytes.count - 4 else { return nil }
        bytes = bytes.dropFirst(4)
        defer { bytes = bytes.dropFirst(count) }
        return bytes.prefix(count)
    }
}
