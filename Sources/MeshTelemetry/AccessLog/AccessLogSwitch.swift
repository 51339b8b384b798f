// SPDX-License-Identifier: Apache-2.0

package import MeshModel
import Synchronization

/// The access log that there is now, if there is one: another may take its place while connections end. Its metrics are
/// those of all that there were.
package final class AccessLogSwitch: Sendable {
    private struct State {
        var log: AccessLog?
        /// Of logs that are closed.
        var past = AccessLog.Figures()
    }

    private let state: Mutex<State>

    /// - Parameter settings: nil: there is none.
    package init(_ settings: AccessLogSettings?, registry: MetricsRegistry) throws(AccessLogError) {
        var log: AccessLog?
        if let settings { log = try AccessLog(settings: settings) }
        self.state = Mutex(State(log: log))
        AccessLog.register(registry) { [weak self] in self?.figures ?? AccessLog.Figures() }
    }

    package var settings: AccessLogSettings? { self.state.withLock { $0.log?.settings } }

    /// Never waits for the file.
    package func write(_ record: ConnectionRecord, event: AccessLogSettings.Event = .close) {
        // Within the lock, so that no line comes to a log that is closed already.
        self.state.withLock { $0.log?.write(record, event: event) }
    }

    /// See ``AccessLog/reopen()``.
    package func reopen() { self.state.withLock { $0.log?.reopen() } }

    /// Lines go where these settings say from now on; what waits is written where it was to go, then that is closed.
    ///
    /// - Parameter settings: nil: there is none from now on.
    /// - Returns: whether everything that waited was written.
    /// - Throws: why the new one cannot be opened; the old one goes on then.
    package func change(to settings: AccessLogSettings?) throws(AccessLogError) -> Bool {
        var next: AccessLog?
        if let settings { next = try AccessLog(settings: settings) }
        let old = self.state.withLock { state in
            let old = state.log
            state.log = next
            return old
        }
        guard let old else { return true }
        let isWhole = old.close()
        self.state.withLock { $0.past.add(old.figures) }
        return isWhole
    }

    /// See ``AccessLog/close(timeout:)``.
    @discardableResult
    package func close() -> Bool { self.state.withLock { $0.log }?.close() ?? true }

    private var figures: AccessLog.Figures {
        self.state.withLock { state in
            var figures = state.past
            if let log = state.log { figures.add(log.figures) }
            return figures
        }
    }
}
