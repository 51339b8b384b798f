// SPDX-License-Identifier: Apache-2.0

import Glibc
internal import MeshLinux
internal import MeshModel

/// Lines to the system's journal by its native protocol: one datagram a line, with the line as MESSAGE and what one would
/// search for in fields of its own (systemd's documentation, "Native Journal Protocol").
final class JournalSink: AccessLogSink {
    private let path: String
    private var socket: LocalSocket?

    /// Seconds that the journal may keep a send waiting.
    private static let patience = 1

    init(path: String) { self.path = path }

    func write(_ lines: [AccessLogText]) -> Int {
        for (index, line) in lines.enumerated() where !self.send(Self.datagram(line)) { return index }
        return lines.count
    }

    func reopen() { self.socket = nil }

    private func send(_ bytes: [UInt8]) -> Bool {
        // The journal may have been started anew since: a second socket leads to it.
        for _ in 0..<2 {
            do throws(SystemError) {
                let socket: LocalSocket
                if let known = self.socket {
                    socket = known
                } else {
                    socket = try LocalSocket(connectingTo: self.path, .datagram, timeout: Self.patience)
                }
                self.socket = socket
                _ = try socket.send(bytes[...])
                return true
            } catch {
                self.socket = nil
                if error.errno == EAGAIN { return false }
            }
        }
        return false
    }

    static func datagram(_ line: AccessLogText) -> [UInt8] {
        var bytes: [UInt8] = []
        func add(_ name: String, _ value: String?) {
            guard let value else { return }
            bytes += Array(name.utf8)
            if !value.utf8.contains(UInt8(ascii: "\n")) {
                bytes += [UInt8(ascii: "=")] + Array(value.utf8) + [UInt8(ascii: "\n")]
                return
            }
            // A value of several lines goes with its length, 64 bits little endian.
            bytes.append(UInt8(ascii: "\n"))
            withUnsafeBytes(of: UInt64(value.utf8.count).littleEndian) { bytes += Array($0) }
            bytes += Array(value.utf8) + [UInt8(ascii: "\n")]
        }
        add("MESSAGE", String(line.text.dropLast()))
        // Notice for what did not end in order, or for what was lost; else information.
        let isError = line.entry.map { $0.event == .close && $0.record.reason != .completed } ?? true
        add("PRIORITY", isError ? "5" : "6")
        add("SYSLOG_IDENTIFIER", "nodemesh-access")
        guard let (event, record) = line.entry else { return bytes }
        add("NODEMESH_EVENT", event.rawValue)
        add("NODEMESH_CONNECTION", String(record.id))
        add("NODEMESH_DIRECTION", record.direction.rawValue)
        add("NODEMESH_SOURCE", record.source?.description)
        add("NODEMESH_SOURCE_IDENTITY", record.sourceIdentity?.description)
        add("NODEMESH_DESTINATION", record.destinationWorkload?.description)
        add("NODEMESH_DESTINATION_IDENTITY", record.destinationIdentity?.description)
        add("NODEMESH_SERVICE", record.service?.description)
        add("NODEMESH_REASON", record.reason?.rawValue)
        add("NODEMESH_POLICY", record.policy?.description)
        return bytes
    }
}
