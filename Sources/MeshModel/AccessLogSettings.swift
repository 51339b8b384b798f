// SPDX-License-Identifier: Apache-2.0

/// What is written to the access log, and where.
package struct AccessLogSettings: Sendable, Hashable {
    package enum Target: Hashable, Sendable {
        case standardOutput
        case file(String)
        /// The system's journal, by its native protocol.
        case journal
        /// A Unix socket, stream or datagram, that somebody listens on.
        case socket(String)

        /// `-`, `journal`, `unix:/path` or an absolute path.
        package init?(_ text: String) {
            if text == "-" {
                self = .standardOutput
            } else if text == "journal" {
                self = .journal
            } else if text.hasPrefix("unix:/") {
                self = .socket(String(text.dropFirst("unix:".count)))
            } else if text.hasPrefix("/") {
                self = .file(text)
            } else {
                return nil
            }
        }
    }

    /// When a line is written for a connection.
    package enum Event: String, Hashable, Sendable, CaseIterable {
        /// It reached its destination.
        case open
        /// It is open still, and its last line is ``AccessLogSettings/interval`` old.
        case periodic
        /// It ended or never began.
        case close
    }

    package enum Filter: String, Hashable, Sendable, CaseIterable {
        case all
        /// Only connections that did not end in order.
        case errors
    }

    package var target: Target
    package var events: Set<Event> = [.close]
    /// Seconds between the lines of one long connection.
    package var interval: Int = 600
    /// Bytes from which on a file is put away under another name; 0: never.
    package var maxSize: Int = 0
    /// Files put away that are kept, as `NAME.1` (the newest) and so on.
    package var keep: Int = 5
    /// Lines written in a second at most; 0: all.
    package var linesPerSecond: Int = 0
    package var filter: Filter = .all
    /// The share of connections that are logged, from 0 to 1; those that did not end in order always are.
    package var sampling: Double = 1
    /// Where the journal listens.
    package var journalSocket = "/run/systemd/journal/socket"

    package init(target: Target) { self.target = target }

    /// Whether this event of this connection is to be logged. For one connection the choice is the same for all of its
    /// lines, but that an error is always told.
    package func isWanted(_ event: Event, _ record: ConnectionRecord) -> Bool {
        guard self.events.contains(event) else { return false }
        let isError = event == .close && record.reason != .completed
        if isError { return true }
        if self.filter == .errors { return false }
        return self.sampling >= 1 || Self.fraction(of: record.id) < self.sampling
    }

    /// A number from 0 to 1 that looks random (the finaliser of SplitMix64).
    private static func fraction(of id: UInt64) -> Double {
        var value = id &+ 0x9e37_79b9_7f4a_7c15
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return Double((value ^ (value >> 31)) >> 11) * 0x1p-53
    }
}
