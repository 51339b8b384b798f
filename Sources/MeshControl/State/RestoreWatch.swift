// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshStore
import Synchronization

/// Notices that the store is older than what nodes have seen of it: it was restored from a backup. Nodes refuse such a
/// store until an operator says that it is meant.
package final class RestoreWatch: Sendable {
    private struct State {
        /// The newest revision that a node has seen, and which node.
        var newest: (revision: UInt64, node: String)?
    }

    /// No store changes so often between a backup and its restoration: a node that says so lies.
    private static let plausible: UInt64 = 1 << 40

    private let store: Store
    private let logger: Logger
    private let state = Mutex(State())

    package init(store: Store, logger: Logger) {
        self.store = store
        self.logger = logger
    }

    /// A node told the newest revision that it has seen.
    func heard(_ revision: UInt64, from node: String, present: Int64) {
        let own = UInt64(clamping: present)
        guard revision > own, revision - own < Self.plausible else { return }
        let isNews = self.state.withLock { state in
            guard revision > state.newest?.revision ?? 0 else { return false }
            state.newest = (revision, node)
            return true
        }
        if isNews {
            self.logger.error(
                "this store is older than what nodes have seen of it: nodes refuse it until 'nodemeshctl accept-restore'",
                metadata: ["node.id": "\(node)", "seen": "\(revision)", "store": "\(present)"])
        }
    }

    /// A sentence for an operator; nil: all is well.
    package func problem(present: Int64) -> String? {
        guard let newest = self.state.withLock({ $0.newest }), newest.revision > UInt64(clamping: present) else {
            return nil
        }
        return
            "the store is at revision \(present), and node \(newest.node) has seen \(newest.revision): it was restored"
            + " from a backup, and nodes refuse it until 'nodemeshctl accept-restore'"
    }

    /// Makes nodes believe this store again.
    ///
    /// - Returns: whether there was anything to accept.
    package func accept(present: Int64) async throws(StoreError) -> Bool {
        guard let newest = self.state.withLock({ $0.newest }), newest.revision > UInt64(clamping: present) else {
            return false
        }
        try await self.store.raiseRevision(to: Int64(clamping: newest.revision + 1))
        self.logger.notice("the restored store is accepted", metadata: ["revision": "\(newest.revision + 1)"])
        return true
    }
}
