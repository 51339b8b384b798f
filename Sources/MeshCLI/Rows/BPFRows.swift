// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI

extension BPFSummary.Program: TableDisplayable {
    package static let columns: [Column] = [
        "PROGRAM", "HOOK", Column("ID", .right), Column("TAG", isWide: true), Column("JITED", .right),
        Column("VERIFIED", .right), Column("RUNS", .right), Column("PER RUN", .right), Column("LOADED", .right),
    ]

    package var sortKey: [String] { [self.name, String(1_000_000_000 + UInt64(self.id))] }

    package func cells(at now: Date) -> [Cell] {
        let perRun: String? = self.runs.flatMap { runs in
            runs > 0 ? self.runNanoseconds.map { "\($0 / runs) ns" } : nil
        }
        return [
            Cell(self.name), Cell(self.hook), Cell(String(self.id)), Cell(self.tag),
            Cell(Human.bytes(UInt64(self.jitedBytes))), Cell(self.verifiedInstructions.map { "\($0) insns" }),
            Cell(self.runs.map(String.init)), Cell(perRun),
            Cell(self.loadedAt.map { "\(Human.duration(now.timeIntervalSince($0))) ago" }),
        ]
    }
}

extension BPFSummary.Link: TableDisplayable {
    package static let columns: [Column] = ["HOOK", "ATTACHED TO", Column("PROGRAM", .right), "STATE", "PIN"]

    package var sortKey: [String] { [self.target, self.hook] }

    package func cells(at now: Date) -> [Cell] {
        [
            Cell(self.hook), Cell(self.target), Cell(String(self.program)),
            self.isAttached ? Cell("attached", .good) : Cell("defunct", .bad), Cell(self.pin),
        ]
    }
}

/// Links of one hook, counted.
struct BPFLinkCount: TableDisplayable {
    let hook: String
    var attached = 0
    var defunct = 0

    static func count(_ links: [BPFSummary.Link]) -> [BPFLinkCount] {
        var counts: [String: BPFLinkCount] = [:]
        for link in links {
            var count = counts[link.hook] ?? BPFLinkCount(hook: link.hook)
            if link.isAttached { count.attached += 1 } else { count.defunct += 1 }
            counts[link.hook] = count
        }
        return Array(counts.values)
    }

    static let columns: [Column] = ["LINKS AT HOOK", Column("ATTACHED", .right), Column("DEFUNCT", .right)]
    var sortKey: [String] { [self.hook] }

    func cells(at now: Date) -> [Cell] {
        [
            Cell(self.hook), Cell(String(self.attached)),
            Cell(String(self.defunct), self.defunct > 0 ? .bad : .plain),
        ]
    }
}

extension BPFSummary.Map: TableDisplayable {
    package static let columns: [Column] = [
        "MAP", "TYPE", Column("ID", .right, isWide: true), Column("ENTRIES", .right), Column("CAPACITY", .right),
        Column("FULL", .right), Column("MEMORY", .right),
    ]

    package var sortKey: [String] { [self.name] }

    package func cells(at now: Date) -> [Cell] {
        let percent = self.entries.flatMap { self.capacity > 0 ? $0 * 100 / self.capacity : nil }
        // Arrays are always full.
        let isTight = self.capacity >= 64 && percent ?? 0 >= 75
        return [
            Cell(self.name), Cell(self.type), Cell(String(self.id)), Cell(self.entries.map(String.init)),
            Cell(self.capacity > 0 ? String(self.capacity) : "no limit"),
            Cell(percent.map { "\($0) %" }, isTight ? .warning : .plain), Cell(self.memoryBytes.map(Human.bytes)),
        ]
    }
}
