// SPDX-License-Identifier: Apache-2.0

/// A question that is being asked of resolvers, and all who wait for its answer.
struct Resolution {
    struct Waiter {
        let client: DNSClient
        let query: DNSQuery
        let workload: UInt32
        let began: UInt64
    }

    /// Equal ones are asked once.
    struct Key: Hashable {
        let question: AnswerCache.Key
        let isStream: Bool
    }

    let query: DNSQuery
    /// Nil: it is asked for this client alone.
    let key: Key?
    let original: Upstream?
    let isStream: Bool
    let deadline: UInt64
    /// Whom to ask, one after the other.
    let plan: [Upstream]
    var waiters: [Waiter]
    /// The next of the plan.
    var position = 0
    /// When the latest attempt counts as unanswered; those before it may still be answered.
    var attemptDeadline: UInt64 = 0
    /// All that may still be answered.
    var attempts: [UInt64] = []
    /// What the last resolver said that could not help.
    var failure: DNSResponse?

    /// An attempt, known by its number.
    struct Attempt {
        let resolution: UInt64
        let upstream: Upstream
        let id: UInt16
        let hasEDNS: Bool
    }

    /// When something has to be done for a resolution.
    struct Timer: Comparable {
        let time: UInt64
        let resolution: UInt64
        static func < (left: Self, right: Self) -> Bool {
            (left.time, left.resolution) < (right.time, right.resolution)
        }
    }
}
