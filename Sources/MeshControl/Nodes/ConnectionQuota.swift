// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Synchronization

/// How many connections a listener has at one time; more are closed as they come, before they can do anything.
final class ConnectionQuota: Sendable {
    private let limit: Int
    private let count = Atomic<Int>(0)
    private let refused: @Sendable () -> Void

    /// - Parameter refused: told of each connection that is over the limit.
    init(limit: Int, refused: @escaping @Sendable () -> Void) {
        self.limit = limit
        self.refused = refused
    }

    /// Takes a place that is given back when the connection ends.
    ///
    /// - Throws: when there is none.
    func admit(_ channel: any Channel) throws(ControlError) {
        guard self.count.add(1, ordering: .relaxed).newValue <= self.limit else {
            self.count.subtract(1, ordering: .relaxed)
            self.refused()
            throw ControlError("\(self.limit) connections are open, which is the most")
        }
        channel.closeFuture.whenComplete { _ in self.count.subtract(1, ordering: .relaxed) }
    }
}
