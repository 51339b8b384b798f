// SPDX-License-Identifier: Apache-2.0

import MeshTunnel

extension LoopCore {
    /// Takes over what may change while the loop runs; the rest of `new` is left alone.
    func reconfigure(_ new: ProxyConfiguration) {
        self.configuration.unknownDestination = new.unknownDestination
        self.configuration.maxConnections = new.maxConnections
        self.configuration.connectTimeout = new.connectTimeout
        self.configuration.tunnelPool.isReused = new.tunnelPool.isReused && self.settings.engine.allowsReuse
        self.configuration.tunnelPool.makesSpare = new.tunnelPool.makesSpare
        self.configuration.tunnelPool.idleTimeout = new.tunnelPool.idleTimeout
        self.configuration.halfClosedTimeout = new.halfClosedTimeout
        self.configuration.idleTimeout = new.idleTimeout
        // A connection that might be quiet for ever has no deadline yet, and others have the old one.
        self.forEachConnection { connection in
            guard case .relaying = connection.machine.state, let limit = self.quietLimit(connection) else { return }
            let left = connection.activity + limit
            self.setDeadline(connection, after: left > self.now ? left - self.now : 0)
        }
    }

    /// Connections that all loops together may have.
    var maxConnections: Int { min(self.configuration.maxConnections ?? .max, self.settings.maxConnections) }
}
