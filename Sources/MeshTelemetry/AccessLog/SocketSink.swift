// SPDX-License-Identifier: Apache-2.0

import Glibc
internal import MeshLinux

/// Lines to whoever listens on a Unix socket: as a stream, or as one datagram a line where it takes only those. While
/// nobody listens they are dropped, and it is tried again about once a second.
final class SocketSink: AccessLogSink {
    private let path: String
    private var socket: LocalSocket?
    private var triedAt: UInt64 = 0

    /// Seconds that the reader may keep a send waiting.
    private static let patience = 1
    private static let pause: UInt64 = 1_000_000_000

    init(path: String) { self.path = path }

    func write(_ lines: [AccessLogText]) -> Int {
        self.connect()
        for (index, line) in lines.enumerated() where !self.send(line.text) { return index }
        return lines.count
    }

    func reopen() {
        self.socket = nil
        self.triedAt = 0
    }

    private func connect() {
        guard self.socket == nil else { return }
        let now = Clock.monotonic
        if self.triedAt != 0, now - self.triedAt < Self.pause { return }
        self.triedAt = now
        do throws(SystemError) {
            self.socket = try LocalSocket(connectingTo: self.path, .stream, timeout: Self.patience)
        } catch {
            guard error.errno == EPROTOTYPE else { return }
            self.socket = try? LocalSocket(connectingTo: self.path, .datagram, timeout: Self.patience)
        }
    }

    private func send(_ text: String) -> Bool {
        guard let socket = self.socket else { return false }
        var bytes = Array(text.utf8)[...]
        do throws(SystemError) {
            while !bytes.isEmpty {
                bytes = bytes.dropFirst(try socket.send(bytes))
            }
            return true
        } catch {
            // Half a line may have gone into a stream: the next reader gets a whole one.
            self.socket = nil
            return false
        }
    }
}
