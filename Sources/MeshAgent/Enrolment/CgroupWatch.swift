// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshLinux

/// Tells the registry when cgroups come and go, within milliseconds, from a thread of its own.
final class CgroupWatch: Sendable {
    /// What has changed since the last look.
    struct Change: Sendable {
        var paths: Set<String> = []
        var isEverywhere = false
    }

    let watcher: DirectoryWatcher
    let changes: AsyncStream<Change>
    private let continuation: AsyncStream<Change>.Continuation

    init() throws(SystemError) {
        self.watcher = try DirectoryWatcher()
        // One that is not taken in time makes room for the next: then the look has to be everywhere.
        (self.changes, self.continuation) = AsyncStream.makeStream(
            of: Change.self, bufferingPolicy: .bufferingOldest(256))
    }

    /// Starts the thread, which ends with ``stop()``.
    func start(logger: Logger) throws(SystemError) {
        let (watcher, continuation) = (self.watcher, self.continuation)
        let thread = try OSThread(name: "nm-cgroups") {
            var isBehind = false
            do throws(SystemError) {
                try watcher.run { events in
                    var change = Change()
                    for event in events {
                        switch event {
                        case .changed(let path), .gone(let path): change.paths.insert(path)
                        case .lost: change.isEverywhere = true
                        }
                    }
                    if isBehind { change.isEverywhere = true }
                    if case .dropped = continuation.yield(change) { isBehind = true } else { isBehind = false }
                }
            } catch {
                logger.error(
                    "cgroups are not watched any longer; what comes and goes is found each second",
                    metadata: ["reason": "\(error)"])
            }
            continuation.finish()
        }
        thread.detach()
    }

    func stop() { self.watcher.stop() }
}
