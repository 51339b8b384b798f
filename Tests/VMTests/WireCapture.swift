// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

/// What went over the wire between the hosts: the first bytes of each packet.
struct WireCapture {
    private static let end = "end of the capture"

    private let bytes: Data
    /// Packets of tunnels from and to `nodemeshd`.
    let tunnelPackets: Int

    /// Captures for as long as `body` runs.
    static func during(_ hosts: Hosts, _ body: () async throws -> Void) async throws -> WireCapture {
        let file = FileManager.default.temporaryDirectory.appending(path: "nodemesh-wire-\(getpid()).pcap")
        defer { try? FileManager.default.removeItem(at: file) }
        // As root: tcpdump's own user may not write there. Each packet at once, and of each what shows what it carries.
        let process = try Hosts.start(
            "Tools/hosts",
            [
                "capture", "--", "-Z", "root", "--immediate-mode", "-U", "-s", "200", "-w", file.path,
                "tcp or udp port 9",
            ])
        defer {
            process.terminate()
            process.waitUntilExit()
        }
        try await hosts.eventually("the capture") {
            (try? FileManager.default.attributesOfItem(atPath: file.path)[.size] as? Int) ?? 0
        } _: {
            $0 > 0
        }
        try await body()
        // What went before this packet has been written when it has.
        try await hosts.shell("alpha", "echo '\(Self.end)' >/dev/udp/192.0.2.2/9")
        try await hosts.eventually("the end of the capture") {
            try Data(contentsOf: file).range(of: Data(Self.end.utf8)) != nil
        } _: {
            $0
        }
        process.terminate()
        process.waitUntilExit()
        let shown = try await Hosts.run("tcpdump", ["-Z", "root", "-n", "-r", file.path, "tcp port 15008"])
        try #require(shown.status == 0, "\(shown)")
        return WireCapture(
            bytes: try Data(contentsOf: file),
            tunnelPackets: shown.output.split(separator: "\n").filter { $0.contains(".15008") }.count)
    }

    /// Whether a packet had this text in clear.
    func shows(_ text: String) -> Bool { self.bytes.range(of: Data(text.utf8)) != nil }
}
