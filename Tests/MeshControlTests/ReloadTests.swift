// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshConfiguration
import Synchronization
import Testing

@testable import MeshControl

@Suite struct ReloadTests {
    @Test func liveKeysAreAppliedAndAFaultAppliesNothing() throws {
        let text = Mutex("nodeTimeout: 10\n")
        let live = try LiveConfiguration(ControlConfiguration.table) { () throws(ConfigurationError) in
            try ControlConfiguration.table.read(.init(file: ("f", text.withLock { $0 })))
        }
        let applied = Mutex<[Int]>([])
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let service = ReloadService(live: live, logger: logger) { configuration in
            applied.withLock { $0.append(configuration.nodeTimeout) }
        }
        service.reload()
        #expect(applied.withLock { $0 } == [], "nothing has changed")
        text.withLock { $0 = "nodeTimeout: 20\ntrustDomain: example.org\n" }
        service.reload()
        #expect(applied.withLock { $0 } == [20])
        #expect(live.pending.map(\.key) == ["trustDomain"])
        text.withLock { $0 = "nodeTimeout: 30\nsvidTtl: soon\n" }
        service.reload()
        #expect(applied.withLock { $0 } == [20])
        #expect(live.problems.count == 1 && live.current.nodeTimeout == 20)
    }
}
