// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// How many certificates each node may have signed, so that the log of them is bounded whatever a node does.
///
/// A node has a budget of so many; it fills up again within one validity of a certificate. The most that a node with
/// every workload it may have needs is a quarter of it: each identity's certificate is renewed at half life.
final class IssueBudget: Sendable {
    private struct Account {
        var left: Double
        var at: ContinuousClock.Instant
    }

    private let capacity: Double
    private let accounts = Mutex<[String: Account]>([:])

    init(capacity: Int = 4 * RegistrationReader.maximumWorkloads) { self.capacity = Double(capacity) }

    /// - Parameter validity: of a certificate (seconds).
    /// - Returns: whether the node may have one more signed.
    func take(_ node: String, validity: Double, now: ContinuousClock.Instant) -> Bool {
        self.accounts.withLock { accounts in
            // A full account says nothing that an absent one does not.
            if accounts[node] == nil, accounts.count >= 1024 {
                accounts = accounts.filter {
                    $0.value.left + ($0.value.at.duration(to: now)).seconds * self.capacity / validity < self.capacity
                }
            }
            var account = accounts[node] ?? Account(left: self.capacity, at: now)
            let filled = account.at.duration(to: now).seconds * self.capacity / max(1, validity)
            account = Account(left: min(self.capacity, account.left + max(0, filled)), at: now)
            let isAllowed = account.left >= 1
            if isAllowed { account.left -= 1 }
            accounts[node] = account
            return isAllowed
        }
    }
}
