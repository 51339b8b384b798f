// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import MeshConfiguration
import MeshLinux
import MeshProxy
import MeshTelemetry

extension Inventory {
    func usage() -> UsageSummary {
        let usage = ProcessUsage.current()
        return UsageSummary(
            node: self.settings.node, pid: ProcessUsage.pid, clockSeconds: Double(Clock.monotonic) / 1e9,
            cpuSeconds: usage.seconds, memoryBytes: usage.memory, descriptors: usage.descriptors,
            loops: usage.threads.filter { $0.name.hasPrefix("nm-loop-") }
                .map { .init(name: $0.name, cpuSeconds: $0.seconds) }.sorted { $0.name < $1.name })
    }

    func metrics() async -> String {
        // So that the bytes of long connections are right at each reading.
        self.telemetry.progress(await self.proxy.connections() + self.direct.connections())
        return self.telemetry.registry.render()
    }
}
