// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshAdminAPI
import Synchronization

/// From which level on each component of a daemon logs, changed while it runs; and its latest lines.
///
/// A component is what ``Logging/Logger/component(_:)`` names. Lines without one are the daemon's own.
package final class LogLevels: Sendable {
    /// One component's level as its loggers read it: without a lock, since they ask for each line.
    final class Component: Sendable {
        fileprivate let order = Atomic<Int>(0)

        var level: Logger.Level { LogLevels.levels[self.order.load(ordering: .relaxed)] }
    }

    private struct Override {
        var level: Logger.Level
        /// nil: until it is taken back.
        var until: Date?
        var timer: Task<Void, Never>?
    }

    private struct State {
        var base: Logger.Level
        var components: [String: Component] = [:]
        /// By component, or ``everything``.
        var overrides: [String: Override] = [:]
    }

    /// Names every component.
    package static let everything = "*"
    private static let levels = Logger.Level.allCases
    /// The program makes the names, so that only a fault in it could come here; the rest share one level then.
    private static let maxComponents = 64

    private let state: Mutex<State>
    private let ring = LogRing()

    package init(_ base: Logger.Level) { self.state = Mutex(State(base: base)) }

    /// - Parameter output: makes what writes the lines.
    package func logger(
        label: String, output: (String) -> any LogHandler = { StreamLogHandler.standardError(label: $0) }
    ) -> Logger {
        let (handler, component) = (output(label), self.component(named: label))
        return Logger(label: label) { _ in
            ComponentLogHandler(inner: handler, levels: self, component: component)
        }
    }

    func component(named name: String) -> Component {
        self.state.withLock { state in
            if let known = state.components[name] { return known }
            let name = state.components.count < Self.maxComponents ? name : Self.everything
            if let known = state.components[name] { return known }
            let component = Component()
            state.components[name] = component
            Self.settle(&state)
            return component
        }
    }

    func keep(_ line: LogLine) { self.ring.append(line) }

    /// The latest lines, the oldest first.
    package var lines: [LogLine] { self.ring.lines }

    /// What the configuration says.
    package func setBase(_ level: Logger.Level) {
        self.state.withLock { state in
            state.base = level
            Self.settle(&state)
        }
    }

    /// Logs from another level on.
    ///
    /// - Parameters:
    ///   - component: nil: every one that has no level of its own.
    ///   - level: nil: the configuration's again.
    ///   - seconds: after which that ends; nil: never.
    /// - Throws: when there is no such component.
    package func override(
        component: String?, level: Logger.Level?, seconds: Int?
    ) throws(ErrorResponse) {
        let name = component ?? Self.everything
        let known = self.state.withLock { state in
            component == nil || state.components[name] != nil ? nil : state.components.keys.sorted()
        }
        if let known {
            throw ErrorResponse(error: "no component '\(name)' logs; there are \(known.joined(separator: ", "))")
        }
        let until = seconds.map { Date(timeIntervalSinceNow: TimeInterval($0)) }
        // The timer finds its override by this date, so that it does not end a later one.
        let timer = seconds.map { seconds in
            Task { [weak self] in
                guard (try? await Task.sleep(for: .seconds(seconds))) != nil else { return }
                self?.end(name, until: until)
            }
        }
        let previous = self.state.withLock { state in
            let previous = state.overrides.removeValue(forKey: name)
            if let level { state.overrides[name] = Override(level: level, until: until, timer: timer) }
            if level == nil, component == nil {
                // Everything back means everything.
                for override in state.overrides.values { override.timer?.cancel() }
                state.overrides = [:]
            }
            Self.settle(&state)
            return previous
        }
        previous?.timer?.cancel()
        if level == nil { timer?.cancel() }
    }

    /// A time has passed: the override that was to end then ends.
    func end(_ name: String, until: Date?) {
        self.state.withLock { state in
            guard state.overrides[name]?.until == until else { return }
            state.overrides[name] = nil
            Self.settle(&state)
        }
    }

    package var summary: LogLevelSummary {
        self.state.withLock { state in
            let everything = state.overrides[Self.everything]
            return LogLevelSummary(
                configured: state.base.rawValue,
                components: state.components.keys.filter { $0 != Self.everything }.sorted().map { name in
                    let override = state.overrides[name] ?? everything
                    return .init(
                        component: name, level: (override?.level ?? state.base).rawValue,
                        isChanged: override != nil, until: override?.until)
                })
        }
    }

    private static func settle(_ state: inout State) {
        let everything = state.overrides[Self.everything]?.level ?? state.base
        for (name, component) in state.components {
            let level = state.overrides[name]?.level ?? everything
            component.order.store(Self.levels.firstIndex(of: level) ?? 0, ordering: .relaxed)
        }
    }
}

extension Logger {
    /// This logger for one component, whose level can be changed by itself.
    package func component(_ name: String) -> Logger {
        var logger = self
        logger[metadataKey: ComponentLogHandler.key] = "\(name)"
        return logger
    }
}
