// SPDX-License-Identifier: Apache-2.0

import DequeModule
import MeshAdminAPI
import Synchronization

/// The latest lines of a log; older ones make room.
final class LogRing: Sendable {
    private static let capacity = 500
    /// Characters of one text; what is longer is cut.
    private static let textLimit = 1000

    private let kept = Mutex(Deque<LogLine>())

    func append(_ line: LogLine) {
        var line = line
        line.message = String(line.message.prefix(Self.textLimit))
        line.metadata = line.metadata.mapValues { String($0.prefix(Self.textLimit)) }
        self.kept.withLock { [line] kept in
            if kept.count == Self.capacity { kept.removeFirst() }
            kept.append(line)
        }
    }

    var lines: [LogLine] { self.kept.withLock { Array($0) } }
}
