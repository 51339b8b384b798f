// SPDX-License-Identifier: Apache-2.0

import MeshConfiguration
import MeshDNS
import MeshLinux
import MeshModel
import Synchronization

/// The node's own resolvers: those of its configuration, or of its `resolv.conf`, as it is at the moment.
final class NodeResolvers: Sendable {
    private struct State {
        var text: String?
        var servers: [Upstream] = []
    }

    private let configured: [Upstream]
    private let path: String
    private let state = Mutex(State())

    init(configured: [DNSUpstream], path: String = "/etc/resolv.conf") {
        self.configured = configured.map { Upstream(address: $0.address.ip, port: $0.address.port) }
        self.path = path
    }

    /// Reads the file; one that cannot be read leaves what was known before.
    var current: [Upstream] {
        if !self.configured.isEmpty { return self.configured }
        let text = try? FileTree.text(of: self.path)
        return self.state.withLock { state in
            if let text, text != state.text {
                state.text = text
                state.servers = ResolverConfiguration.servers(in: text) { Linux.interfaceIndex($0) }
            }
            return state.servers
        }
    }
}
