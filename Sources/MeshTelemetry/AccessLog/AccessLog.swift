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

/// Writes lines of JSON about connections.
///
/// `write` only puts the record into a bounded queue, so that an event loop never waits for a disk or a pipe; one thread
/// forms the lines and writes them. What does not fit into the queue, comes too fast or cannot be written is dropped and
/// counted, and a line in the log says how much.
package final class AccessLog: Sendable {
    package let settings: AccessLogSettings
    private let core: AccessLogCore

    /// - Parameter capacity: records that may wait to be written.
    package init(
        settings: AccessLogSettings, capacity: Int = 8192, registry: MetricsRegistry? = nil
    ) throws(AccessLogError) {
        self.settings = settings
        let sink: any AccessLogSink
        switch settings.target {
        case .standardOutput: sink = try FileSink(path: nil, maxSize: 0, keep: 0)
        case .file(let path): sink = try FileSink(path: path, maxSize: settings.maxSize, keep: settings.keep)
        case .journal: sink = JournalSink(path: settings.journalSocket)
        case .socket(let path): sink = SocketSink(path: path)
        }
        let core = AccessLogCore(settings: settings, sink: sink, capacity: max(1, capacity))
        self.core = core
        if let registry { Self.register(registry) { core.figures } }
        core.start()
    }

    /// How many lines were written, left out and dropped.
    struct Figures {
        var written: UInt64 = 0
        var filtered: UInt64 = 0
        var dropped: [AccessLogQueue.Loss: UInt64] = [:]

        mutating func add(_ other: Self) {
            self.written += other.written
            self.filtered += other.filtered
            self.dropped.merge(other.dropped, uniquingKeysWith: +)
        }
    }

    var figures: Figures { self.core.figures }

    /// The metrics of what logs there are.
    static func register(_ registry: MetricsRegistry, _ figures: @escaping @Sendable () -> Figures) {
        registry.collect(
            "nodemesh_access_log_lines_total", .counter, help: "Lines written to the access log."
        ) { [([], Double(figures().written))] }
        registry.collect(
            "nodemesh_access_log_filtered_lines_total", .counter,
            help: "Lines left out of the access log by its filter or its sampling."
        ) { [([], Double(figures().filtered))] }
        registry.collect(
            "nodemesh_access_log_dropped_lines_total", .counter,
            help: "Lines dropped: too many waited, too many came in a second, or they could not be written.",
            labels: ["reason"]
        ) {
            let dropped = figures().dropped
            return AccessLogQueue.Loss.allCases.map { ([$0.rawValue], Double(dropped[$0] ?? 0)) }
        }
    }

    /// Never waits for the file. After ``close(timeout:)`` the record is dropped.
    package func write(_ record: ConnectionRecord, event: AccessLogSettings.Event = .close) {
        self.core.enqueue(event, record)
    }

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
    package var counts: (written: UInt64, dropped: UInt64) {
        let figures = self.core.figures
        return (figures.written, figures.dropped.values.reduce(0, +))
    }

    deinit { self.core.abandon() }
}
