// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshDiscovery

/// Who a node is when it starts, and what it still knows.
package struct StartState: Sendable {
    package let credentials: NodeCredentials
    package let view: RestoredView
    package let faults: StateFaults
    package let queue = StateQueue()
    package let trace: StartTrace
    /// Joins anew; nil: there is no token.
    package var rejoin: (@Sendable () async throws -> NodeCredentials)?

    package init(credentials: NodeCredentials, directory: String, trace: StartTrace, logger: Logger) {
        self.trace = trace
        self.credentials = credentials
        self.faults = StateFaults(logger: logger)
        self.view = RestoredView(directory: directory, credentials: credentials, faults: self.faults, logger: logger)
    }

    /// What keeps the view from now on; nil when the data directory does not allow it.
    func keeper(
        freshness: ViewFreshness, logger: Logger, source: @escaping @Sendable () -> DeltaClient?
    ) -> ViewKeeper? {
        self.view.store.map { store in
            ViewKeeper(
                store: store, found: self.view.found, node: self.credentials.node,
                trustDomain: self.credentials.trustDomain, queue: self.queue, faults: self.faults,
                freshness: freshness, logger: logger, source: source)
        }
    }
}
