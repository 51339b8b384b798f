// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshTelemetry
import Synchronization

/// What cannot be kept on disk now, by what it is. The daemon goes on without; a restart would have less.
package final class StateFaults: Sendable {
    private struct State {
        var present: [String: String] = [:]
        var counts: [String: UInt64] = [:]
    }

    private let state = Mutex(State())
    private let logger: Logger

    package init(logger: Logger) { self.logger = logger }

    /// - Parameter kind: `view`, `svids` or `node`.
    package func report(_ kind: String, _ text: String) {
        let isNew = self.state.withLock { state in
            state.counts[kind, default: 0] += 1
            return state.present.updateValue(text, forKey: kind) != text
        }
        // The same fault over and over is said once.
        self.logger.log(
            level: isNew ? .error : .debug, "state cannot be kept on disk; traffic goes on, a restart would lack it",
            metadata: ["what": "\(kind)", "reason": "\(text)"])
    }

    package func clear(_ kind: String) {
        guard self.state.withLock({ $0.present.removeValue(forKey: kind) }) != nil else { return }
        self.logger.notice("state is kept on disk again", metadata: ["what": "\(kind)"])
    }

    /// Sentences for an operator.
    package var present: [String] {
        self.state.withLock { $0.present.sorted { $0.key < $1.key }.map { "cannot keep state: \($0.value)" } }
    }

    package func watch(_ registry: MetricsRegistry) {
        registry.collect(
            "nodemesh_state_write_failures_total", .counter,
            help: "Writes to the data directory that failed: of the view, of workloads' certificates (svids), or of the"
                + " node's own credentials (node).", labels: ["what"]
        ) { self.state.withLock { state in state.counts.map { ([$0.key], Double($0.value)) } } }
    }
}
