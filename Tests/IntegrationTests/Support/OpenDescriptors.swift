// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The descriptors that a daemon has open, by what they are, as `/proc` tells.
struct OpenDescriptors: CustomStringConvertible {
    /// Established connections from and to the tunnel port of the daemon's own network namespace.
    var tunnels = 0
    /// Ends of pipes.
    var pipes = 0
    /// Everything else: must not grow with the traffic that passed.
    var others = 0

    init(process: String) throws {
        let directory = "/proc/\(process)"
        let tunnels = try Self.tunnelSockets(directory)
        for name in try FileManager.default.contentsOfDirectory(atPath: "\(directory)/fd") {
            // One that was closed meanwhile has no destination, and does not count.
            guard
                let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "\(directory)/fd/\(name)")
            else { continue }
            if tunnels.contains(target) {
                self.tunnels += 1
            } else if target.hasPrefix("pipe:") {
                self.pipes += 1
            } else {
                self.others += 1
            }
        }
    }

    var description: String { "\(self.tunnels) tunnels, \(self.pipes) ends of pipes, \(self.others) others" }

    /// `socket:[INODE]` of each established connection with port 15008 at either end.
    private static func tunnelSockets(_ directory: String) throws -> Set<String> {
        var found: Set<String> = []
        for table in ["tcp", "tcp6"] {
            // Not String(contentsOfFile:), which takes the first short read of such a file for its end.
            let file = try FileHandle(forReadingFrom: URL(filePath: "\(directory)/net/\(table)"))
            defer { try? file.close() }
            let text = String(decoding: try file.readToEnd() ?? Data(), as: UTF8.self)
            for row in text.split(separator: "\n").dropFirst() {
                // Number, local and remote address:port, state, queues, timers, retransmissions, owner, timeout, inode.
                let words = row.split(separator: " ")
                guard words.count > 9, words[3] == "01", words[1...2].contains(where: { $0.hasSuffix(":3AA0") }) else {
                    continue
                }
                found.insert("socket:[\(words[9])]")
            }
        }
        return found
    }
}
