// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A packet capture on a link of the lab, from when it is made until it is asked for.
final class WireCapture {
    private let file: String
    private let program: Program

    /// - Parameters:
    ///   - link: as `Tools/lab capture` takes it.
    ///   - name: of the file, which `Tools/lab down` removes.
    init(_ link: String, name: String) throws {
        let file = "/run/nodemesh-lab/\(Lab.name)/\(name).pcap"
        self.file = file
        self.program = try Program([
            Lab.tool, "--name", Lab.name, "capture", link, "--", "-U", "-s", "0", "-B", "16384", "-w", file,
        ])
        _ = try eventually("tcpdump to start", { FileManager.default.fileExists(atPath: file) }) { $0 }
    }

    /// Ends the capture when it has `words`, which were the last to pass in clear; everything that passed.
    func end(after words: String) throws -> Data {
        let bytes = try eventually("the capture to have \(words)", self.read) {
            $0.range(of: Data(words.utf8)) != nil
        }
        self.program.terminate()
        return bytes
    }

    /// A line for each packet that a tcpdump expression selects.
    func packets(_ expression: String) throws -> [String] {
        try Program.run(["/usr/bin/tcpdump", "-n", "-r", self.file, expression]).lines
    }

    private func read() throws -> Data { try Data(contentsOf: URL(filePath: self.file)) }
}
