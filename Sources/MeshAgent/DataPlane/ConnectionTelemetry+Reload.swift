// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshConfiguration
import MeshTelemetry

extension ConnectionTelemetry {
    /// Has lines go where the next configuration says.
    ///
    /// - Returns: why they cannot; they go on where they went then.
    func changeAccessLog(
        from now: AgentConfiguration, to next: ConfigurationReading<AgentConfiguration>, logger: Logger
    ) -> [String] {
        let settings = next.value.accessLogSettings
        guard settings != now.accessLogSettings else { return [] }
        do throws(AccessLogError) {
            if try !self.accessLog.change(to: settings) {
                logger.warning("lines of the former access log were not written in time, and may be lost")
            }
            return []
        } catch {
            return ["\(next.origin(of: "accessLog")): accessLog: \(error)"]
        }
    }
}
