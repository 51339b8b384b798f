// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// The configuration of a running daemon: what is in force, what waits for a restart, and how the last reload went.
package final class LiveConfiguration<Configuration: Sendable>: Sendable {
    package typealias Reading = ConfigurationReading<Configuration>

    /// What a reload found; secrets are redacted.
    package struct Outcome: Sendable, Equatable {
        package struct Change: Sendable, Equatable {
            package var key: String
            package var from: String
            package var to: String
        }

        /// In force from now on.
        package var applied: [Change] = []
        /// In force after a restart.
        package var pending: [Change] = []
        /// Faults; with one, nothing has changed.
        package var problems: [String] = []
    }

    private struct State {
        var reading: Reading
        /// What was read last; differs where a restart is needed.
        var wanted: Reading
        var problems: [String] = []
    }

    package let table: ConfigurationTable<Configuration>
    private let read: @Sendable () throws(ConfigurationError) -> Reading
    private let state: Mutex<State>

    /// - Parameter read: reads file, environment and command line as at the start.
    /// - Throws: the faults of the first reading.
    package init(
        _ table: ConfigurationTable<Configuration>, read: @escaping @Sendable () throws(ConfigurationError) -> Reading
    ) throws(ConfigurationError) {
        self.table = table
        self.read = read
        let reading = try read()
        self.state = Mutex(State(reading: reading, wanted: reading))
    }

    /// A configuration that no reload changes.
    package init(_ table: ConfigurationTable<Configuration>, fixed configuration: Configuration) {
        let reading = Reading(value: configuration, origins: [:])
        self.table = table
        self.read = { () throws(ConfigurationError) in reading }
        self.state = Mutex(State(reading: reading, wanted: reading))
    }

    /// What is in force.
    package var current: Configuration { self.state.withLock { $0.reading.value } }

    /// ``current``, and where each value comes from.
    package var reading: Reading { self.state.withLock { $0.reading } }

    /// What was read last, see ``pending``.
    package var wanted: Reading { self.state.withLock { $0.wanted } }

    /// Of the last reload; with one, the configuration stayed as it was.
    package var problems: [String] { self.state.withLock { $0.problems } }

    /// What has changed and needs a restart.
    package var pending: [Outcome.Change] {
        let (reading, wanted) = self.state.withLock { ($0.reading.value, $0.wanted.value) }
        return self.table.keys.filter { !$0.isEqual(reading, wanted) }.map { Self.change(of: $0, reading, wanted) }
    }

    /// Reads everything again and has the live keys take effect in ``current``; making them so elsewhere is the
    /// caller's part.
    ///
    /// - Parameter attempt: makes so what may fail, when a live key has changed, and returns why it cannot; with a
    ///   reason, nothing changes.
    package func reload(trying attempt: (Reading) -> [String] = { _ in [] }) -> Outcome {
        let next: Reading
        do throws(ConfigurationError) {
            next = try self.read()
        } catch {
            return self.fail(error.problems)
        }
        var (state, outcome) = (self.state.withLock { $0 }, Outcome())
        let (old, before) = (state.reading.value, state.wanted.value)
        for key in self.table.keys {
            let isSame = key.isEqual(old, next.value)
            if key.isLive, !isSame {
                outcome.applied.append(Self.change(of: key, old, next.value))
                key.copy(next.value, &state.reading.value)
            } else if !isSame, !key.isEqual(before, next.value) {
                outcome.pending.append(Self.change(of: key, old, next.value))
            }
            if key.isLive || isSame { state.reading.origins[key.name] = next.origins[key.name] }
        }
        state.reading.file = next.file
        (state.wanted, state.problems) = (next, outcome.applied.isEmpty ? [] : attempt(state.reading))
        guard state.problems.isEmpty else { return self.fail(state.problems) }
        self.state.withLock { $0 = state }
        return outcome
    }

    private func fail(_ problems: [String]) -> Outcome {
        self.state.withLock { $0.problems = problems }
        return Outcome(problems: problems)
    }

    private static func change(
        of key: ConfigurationKey<Configuration>, _ from: Configuration, _ to: Configuration
    ) -> Outcome.Change {
        Outcome.Change(key: key.name, from: key.shownText(of: from), to: key.shownText(of: to))
    }
}
