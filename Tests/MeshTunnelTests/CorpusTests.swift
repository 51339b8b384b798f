// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

/// SplitMix64.
private struct Sequence64: RandomNumberGenerator {
    private var state: UInt64 = 1

    mutating func next() -> UInt64 {
        self.state &+= 0x9e37_79b9_7f4a_7c15
        var value = self.state
        value = (value ^ value >> 30) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ value >> 27) &* 0x94d0_49bb_1331_11eb
        return value ^ value >> 31
    }
}

/// Replays what fuzzing has found worth keeping; see `Tools/fuzz`.
@Suite struct CorpusTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Corpus")

    @Test(arguments: FuzzTarget.allCases) func `nothing in the corpus breaks its reader`(target: FuzzTarget) throws {
        let folder = Self.root.appending(path: target.rawValue)
        let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
        #expect(!files.isEmpty)
        for file in files { try Data(contentsOf: file).withUnsafeBytes { target.run($0) } }
    }

    @Test(arguments: FuzzTarget.allCases) func `nothing random breaks a reader`(target: FuzzTarget) throws {
        let folder = Self.root.appending(path: target.rawValue)
        let seeds = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
            .sorted { $0.path < $1.path }.map { try Data(contentsOf: $0) }
        // The same each time: `Tools/fuzz` is for what has not been tried yet.
        var random = Sequence64()
        for _ in 0..<300 {
            var bytes = Array(seeds.randomElement(using: &random) ?? Data())
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                let place = Int.random(in: 0...bytes.count, using: &random)
                switch UInt32.random(in: 0..<3, using: &random) {
                case 0: bytes.insert(UInt8.random(in: 0...255, using: &random), at: place)
                case 1: if place < bytes.count { bytes[place] = UInt8.random(in: 0...255, using: &random) }
                default: bytes.removeSubrange(place..<min(bytes.count, place + 3))
                }
            }
            bytes.withUnsafeBytes { target.run($0) }
        }
    }
}
