// SPDX-License-Identifier: Apache-2.0

import Synchronization
import Testing

@testable import MeshConfiguration

@Suite struct LiveConfigurationTests {
    /// A configuration whose file the test rewrites.
    private final class Source: Sendable {
        let text: Mutex<String>
        init(_ text: String) { self.text = Mutex("controlPlane: cp:1\n" + text) }

        func set(_ text: String) { self.text.withLock { $0 = "controlPlane: cp:1\n" + text } }

        func live() throws(ConfigurationError) -> LiveConfiguration<AgentConfiguration> {
            try LiveConfiguration(AgentConfiguration.table) { () throws(ConfigurationError) in
                try AgentConfiguration.table.read(.init(file: ("f", self.text.withLock { $0 })))
            }
        }
    }

    @Test func liveKeysTakeEffectAndTheOthersWait() throws {
        let source = Source("failMode: closed\nloops: 1\n")
        let live = try source.live()
        source.set("\nfailMode: open\nloops: 2\njoinToken: nmjt.a.b\n")
        let outcome = live.reload()
        #expect(outcome.applied == [.init(key: "failMode", from: "closed", to: "open")])
        #expect(
            outcome.pending == [
                .init(key: "joinToken", from: "", to: "(redacted)"), .init(key: "loops", from: "1", to: "2"),
            ])
        #expect(live.current.failMode == .open)
        #expect(live.current.loops == 1)
        #expect(live.pending == outcome.pending)
        #expect(live.reading.origin(of: "failMode").description == "f:3")
        #expect(live.reading.origin(of: "loops").description == "f:3", "the value in force is the first file's")
        // What waits already is no news; what goes back waits no longer.
        #expect(live.reload() == .init())
        source.set("loops: 1\nfailMode: open\n")
        #expect(live.reload() == .init())
        #expect(live.pending.isEmpty)
    }

    @Test func aFaultKeepsEverything() throws {
        let source = Source("failMode: open\n")
        let live = try source.live()
        source.set("failMode: closed\nloops: none\nnode: a b\n")
        let outcome = live.reload()
        #expect(outcome.problems.count == 2)
        #expect(live.problems == outcome.problems)
        #expect(live.current.failMode == .open)
        #expect(live.pending.isEmpty)
        source.set("failMode: closed\n")
        #expect(live.reload().applied.map(\.key) == ["failMode"])
        #expect(live.problems.isEmpty)
    }

    @Test func whatCannotBeMadeSoKeepsEverything() throws {
        let source = Source("failMode: closed\nloops: 1\n")
        let live = try source.live()
        source.set("failMode: open\nloops: 2\n")
        let outcome = live.reload { next in
            #expect(next.value.failMode == .open && next.value.loops == 1, "what would be in force")
            #expect(next.origin(of: "failMode").description == "f:2")
            return ["no"]
        }
        #expect(outcome == .init(problems: ["no"]))
        #expect(live.problems == ["no"] && live.pending.isEmpty)
        #expect(live.current.failMode == .closed)
        #expect(live.reload { _ in [] }.applied.map(\.key) == ["failMode"])
        #expect(live.current.failMode == .open && live.problems.isEmpty)
        // Nothing to try where no live key has changed.
        source.set("failMode: open\nloops: 3\n")
        #expect(live.reload { _ in ["not asked"] }.pending.map(\.key) == ["loops"])
    }
}
