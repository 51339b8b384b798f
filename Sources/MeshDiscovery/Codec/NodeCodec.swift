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
        self.init(
            trustDomain: message.trustDomain,
            prefixes: try Field.list(message.prefixes, "prefixes") { prefix, field throws(ResourceError) in
                try Field.prefix(prefix.address, length: prefix.length, field)
            },
            trustBundle: message.trustBundle,
            rootNamespace: try Field.name(message.rootNamespace, "root_namespace"))
    }
}
