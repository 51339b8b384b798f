// SPDX-License-Identifier: Apache-2.0

import MeshLinux
import MeshModel
import MeshProxy
import MeshTelemetry
import ServiceLifecycle

/// Looks at all open connections now and then: for the state of their TCP connections, and for the access log's lines
/// about those that stay open.
struct TelemetryTicker: ServiceLifecycle.Service {
    let telemetry: ConnectionTelemetry
    let proxy: Proxy
    let direct: LocalPath

    /// How often at least.
    private static let interval = 10

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                let lines = self.telemetry.accessLog.settings?.interval ?? Self.interval
                try? await Task.sleep(for: .seconds(max(1, min(Self.interval, lines))))
                if Task.isCancelled { return }
                let records = await self.proxy.connections(isSampled: true) + self.direct.connections()
                self.telemetry.observe(records, now: Clock.wall)
            }
        }
    }
}
