// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

/// Replays what fuzzing has found worth keeping; see `Tools/fuzz`.
struct DNSCorpusTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Corpus")

    @Test(arguments: DNSFuzzTarget.allCases) func nothingInTheCorpusBreaksItsReader(target: DNSFuzzTarget) throws {
        let folder = Self.root.appending(path: target.rawValue)
        let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
        #expect(!files.isEmpty)
        for file in files {
            let whole = Array(try Data(contentsOf: file))
            for end in 0...whole.count { whole.prefix(end).withUnsafeBytes { target.run($0) } }
            for offset in whole.indices {
                for value: UInt8 in [0, 63, 192, 255] {
                    var changed = whole
                    changed[offset] = value
                    changed.withUnsafeBytes { target.run($0) }
                }
            }
        }
    }
}
