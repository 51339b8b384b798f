// SPDX-License-Identifier: Apache-2.0

import MeshLinux
import Synchronization

/// How the daemon is to end, other than by a signal to its services; the first word counts.
final class Endings: Sendable {
    enum Ending: Sendable {
        /// Another daemon takes over.
        case takeOver(TakeOverRequest)
        /// Another daemon, which cannot, waits until this one has ended its connections.
        case drain(reason: String)
        /// A signal came before there was anything that waits for signals.
        case stop
    }

    private let stored = Mutex<Ending?>(nil)
    private let news: AsyncStream<Void>
    private let source: AsyncStream<Void>.Continuation

    init() { (self.news, self.source) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1)) }

    var ending: Ending? { self.stored.withLock { $0 } }

    func end(_ ending: Ending) {
        self.stored.withLock { if $0 == nil { $0 = ending } }
        self.source.yield()
    }

    /// Returns when the daemon is to end, or the task is cancelled.
    func wait() async { for await _ in self.news { return } }
}

/// A new daemon that waits for this one's state.
final class TakeOverRequest: Sendable {
    let connection: PacketConnection
    let successor: Successor
    /// In which it reads the state.
    let format: Int
    let version: String
    let pid: Int32

    init(
        connection: consuming PacketConnection, successor: Successor, format: Int, version: String, pid: Int32
    ) {
        self.connection = connection
        self.successor = successor
        self.format = format
        self.version = version
        self.pid = pid
    }
}
