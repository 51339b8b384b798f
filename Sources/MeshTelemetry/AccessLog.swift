// SPDX-License-Identifier: Apache-2.0

import Glibc
package import MeshModel

/// Why an access log cannot be written.
package struct AccessLogError: Error, Hashable, Sendable, CustomStringConvertible {
    package var path: String
    package var errno: CInt

    package var description: String {
        "cannot open the access log \(self.path): \(String(cString: strerror(self.errno))); "
            + "check that its directory exists and that the daemon may write there"
    }
}

/// Writes one line of JSON for each connection.
///
/// `write` only puts the record into a bounded queue, so that an event loop never waits for a disk or a pipe; one thread
/// forms the lines and writes them. What does not fit into the queue is dropped and counted.
package final class AccessLog: Sendable {
    package enum Target: Hashable, Sendable {
        case standardOutput
        case file(String)
    }

    private let core: AccessLogCore

    /// - Parameter capacity: records that may wait to be written.
    package init(
        target: Target, capacity: Int = 8192, registry: MetricsRegistry? = nil
    ) throws(AccessLogError) {
        let path: String? =
            switch target {
            case .standardOutput: nil
            case .file(let path): path
            }
        var descriptor = STDOUT_FILENO
        if let path { descriptor = try AccessLogCore.open(path) }
        let core = AccessLogCore(path: path, descriptor: descriptor, capacity: max(1, capacity))
        self.core = core
        registry?.collect(
            "nodemesh_access_log_lines_total", .counter, help: "Lines written to the access log."
        ) { [([], Double(core.counts.written))] }
        registry?.collect(
            "nodemesh_access_log_dropped_lines_total", .counter,
            help: "Lines that were dropped since the access log could not be written fast enough, or at all."
        ) { [([], Double(core.counts.dropped))] }
        core.start()
    }

    /// Never waits for the file. After ``close(timeout:)`` the record is dropped.
    package func write(_ record: ConnectionRecord) { self.core.enqueue(record) }

    /// Opens the file by its name again before the next line: call it after the file was renamed away. When it cannot
    /// be opened, lines go on into the old one.
    package func reopen() { self.core.requestReopen() }

    /// Writes what waits and ends. Gives up when that takes longer than `timeout` seconds: a reader of a pipe may have
    /// stopped for good.
    ///
    /// - Returns: whether everything was written.
    @discardableResult
    package func close(timeout: Int = 5) -> Bool { self.core.stop(timeout: timeout) }

    /// Lines written and lines dropped so far.
    package var counts: (written: UInt64, dropped: UInt64) { self.core.counts }

    deinit { self.core.abandon() }
}
