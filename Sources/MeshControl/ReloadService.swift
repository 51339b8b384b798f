// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshConfiguration
import ServiceLifecycle
import UnixSignals

/// Reads the configuration again on SIGHUP and has the keys that can change while running take effect.
struct ReloadService: Service {
    let live: LiveConfiguration<ControlConfiguration>
    let logger: Logger
    let apply: @Sendable (ControlConfiguration) -> Void

    func run() async throws {
        let signals = await UnixSignalsSequence(trapping: .sighup)
        for await _ in signals.cancelOnGracefulShutdown() { self.reload() }
    }

    func reload() {
        let outcome = self.live.reload()
        if !outcome.applied.isEmpty { self.apply(self.live.current) }
        outcome.log(to: self.logger, program: self.live.table.program)
    }
}
