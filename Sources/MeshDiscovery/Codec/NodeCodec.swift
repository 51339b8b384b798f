// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAPI
import MeshModel
import SwiftProtobuf

extension Nodemesh_V1_Node {
    init(_ node: Node) {
        self.init()
        self.name = node.name
        self.addresses = node.addresses.map { Data($0.bytes) }
        self.tunnelPort = UInt32(node.tunnelPort)
    }
}

extension Node {
    init(_ message: Nodemesh_V1_Node) throws(ResourceError) {
        self.init(
            name: try Field.name(message.name, "name"),
            addresses: try Field.list(message.addresses, "addresses", Field.address),
            tunnelPort: try Field.port(message.tunnelPort, "tunnel_port"))
    }
}

extension Nodemesh_V1_Mesh {
    init(_ settings: MeshSettings) {
        self.init()
        self.trustDomain = settings.trustDomain
        self.prefixes = settings.prefixes.map { prefix in
            .with {
                $0.address = Data(prefix.address.bytes)
                $0.length = UInt32(prefix.length)
            }
        }
        self.trustBundle = settings.trustBundle
        self.rootNamespace = settings.rootNamespace
        self.maxStalenessSeconds = settings.maxStaleness.map { UInt64(clamping: $0) } ?? 0
        self.issuingRoot = settings.issuingRoot ?? ""
    }
}

extension MeshSettings {
    init(_ message: Nodemesh_V1_Mesh) throws(ResourceError) {
        guard SPIFFEID.isValidTrustDomain(message.trustDomain) else {
            throw ResourceError("trust_domain", "\"\(message.trustDomain.prefix(64))\" is not a trust domain")
        }
        guard (1...64).contains(message.trustBundle.count) else {
            throw ResourceError("trust_bundle", "has \(message.trustBundle.count) roots; 1 to 64 are allowed")
        }
        guard message.issuingRoot.isEmpty || message.issuingRoot.utf8.count == 71 else {
            throw ResourceError("issuing_root", "is not sha256: and 64 digits")
        }
        self.init(
            trustDomain: message.trustDomain,
            prefixes: try Field.list(message.prefixes, "prefixes") { prefix, field throws(ResourceError) in
                try Field.prefix(prefix.address, length: prefix.length, field)
            },
            trustBundle: message.trustBundle,
            rootNamespace: try Field.name(message.rootNamespace, "root_namespace"),
            maxStaleness: message.maxStalenessSeconds == 0
                ? nil : Int(min(message.maxStalenessSeconds, UInt64(Int32.max))),
            issuingRoot: message.issuingRoot.isEmpty ? nil : message.issuingRoot)
    }
}
