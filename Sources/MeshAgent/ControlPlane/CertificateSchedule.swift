// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshIdentity
import MeshModel

/// Which certificates this node needs, which it has, and when to ask for which.
///
///     wanted --> due --plan()--> requesting --issued--> valid until half life --> due
///                 ^___ backoff ___/ failed
///
/// A certificate that is still valid is kept while a newer one cannot be had. It makes no requests and has no clock.
package struct CertificateSchedule: Sendable {
    /// What to do now.
    package struct Plan: Sendable, Hashable {
        /// Ask for these; identities without a certificate come first.
        package var start: [SPIFFEID]
        /// Plan again then; nil: when something happens.
        package var wake: Date?
    }

    private enum Phase: Sendable, Hashable {
        case due(at: Date)
        case requesting
    }

    private struct Entry: Sendable {
        var svid: SVID?
        var phase: Phase
        var backoff = Backoff(initial: .milliseconds(500), maximum: .seconds(150))
        var lastError: String?
    }

    /// Requests under way at once.
    private static let concurrency = 8

    private var entries: [SPIFFEID: Entry] = [:]

    package init() {}

    /// The identities of the workloads on this node. Certificates of others are dropped.
    package mutating func want(_ identities: Set<SPIFFEID>, now: Date) {
        self.entries = self.entries.filter { identities.contains($0.key) }
        for identity in identities where self.entries[identity] == nil {
            self.entries[identity] = Entry(phase: .due(at: now))
        }
    }

    /// What failed is asked for again, since something it depends on has changed: at once where there is no certificate that
    /// could be used, otherwise within `spread` seconds.
    package mutating func retryFailed(now: Date, spread: (SPIFFEID) -> TimeInterval) {
        for (identity, entry) in self.entries {
            guard case .due(let at) = entry.phase else { continue }
            if entry.svid.map({ !$0.isUsable(at: now) }) ?? true {
                self.entries[identity]?.phase = .due(at: now)
            } else if entry.lastError != nil {
                self.entries[identity]?.phase = .due(at: min(at, now.addingTimeInterval(spread(identity))))
            }
        }
    }

    /// A certificate of the last run, for an identity that is not known yet: it is good until its renewal as if it had
    /// just been issued.
    package mutating func adopt(_ svid: SVID, now: Date, jitter: Double) {
        guard self.entries[svid.identity]?.svid == nil else { return }
        self.entries[svid.identity] = Entry(svid: svid, phase: .due(at: svid.renewalTime(jitter: jitter)))
    }

    /// Whether nothing is held of an identity, so that it is worth a look on disk.
    package func isMissing(_ identity: SPIFFEID) -> Bool { self.entries[identity]?.svid == nil }

    /// Another root signs now: what leads to an older one is renewed within `spread` seconds.
    package mutating func renew(exceptIssuedBy root: String, now: Date, spread: (SPIFFEID) -> TimeInterval) {
        for (identity, entry) in self.entries {
            guard let svid = entry.svid, svid.issuer.description != root, case .due(let at) = entry.phase else {
                continue
            }
            // Not again and again when it fails: then there is a waiting time already.
            guard entry.lastError == nil else { continue }
            self.entries[identity]?.phase = .due(at: min(at, now.addingTimeInterval(spread(identity))))
        }
    }

    package mutating func plan(now: Date) -> Plan {
        var (due, wake): ([(isMissing: Bool, at: Date, identity: SPIFFEID)], Date?) = ([], nil)
        var running = 0
        for (identity, entry) in self.entries {
            if let end = entry.svid?.notAfter, end > now { wake = min(wake ?? end, end) }
            switch entry.phase {
            case .requesting: running += 1
            case .due(let at) where at <= now:
                due.append((entry.svid.map { !$0.isUsable(at: now) } ?? true, at, identity))
            case .due(let at): wake = min(wake ?? at, at)
            }
        }
        due.sort {
            if $0.isMissing != $1.isMissing { return $0.isMissing }
            return ($0.at, $0.identity.description) < ($1.at, $1.identity.description)
        }
        let start = due.prefix(max(0, Self.concurrency - running)).map(\.identity)
        for identity in start { self.entries[identity]?.phase = .requesting }
        return Plan(start: start, wake: wake)
    }

    package mutating func issued(_ svid: SVID, now: Date, jitter: Double) {
        guard var entry = self.entries[svid.identity] else { return }
        entry.svid = svid
        // However short its life is, a certificate is not renewed at once.
        entry.phase = .due(at: max(svid.renewalTime(jitter: jitter), now.addingTimeInterval(5)))
        entry.backoff.reset()
        entry.lastError = nil
        self.entries[svid.identity] = entry
    }

    package mutating func failed(_ identity: SPIFFEID, _ reason: String, now: Date, jitter: Double) {
        guard var entry = self.entries[identity] else { return }
        entry.lastError = reason
        entry.phase = .due(at: now.addingTimeInterval(entry.backoff.next(jitter: jitter).interval))
        self.entries[identity] = entry
    }

    /// What can be used now.
    package func valid(at now: Date) -> [SPIFFEID: SVID] {
        self.entries.compactMapValues { entry in entry.svid.flatMap { $0.isUsable(at: now) ? $0 : nil } }
    }

    /// One line of a list.
    package struct Status: Sendable {
        package var identity: SPIFFEID
        package var svid: SVID?
        package var isRequesting: Bool
        package var lastError: String?
    }

    /// By identity.
    package var statuses: [Status] {
        self.entries.map { identity, entry in
            Status(
                identity: identity, svid: entry.svid, isRequesting: entry.phase == .requesting,
                lastError: entry.lastError)
        }.sorted { $0.identity.description < $1.identity.description }
    }
}
