// SPDX-License-Identifier: Apache-2.0

import Hummingbird
import MeshModel
import ServiceLifecycle

/// An HTTP listener under the process's life cycle, whose failure names the flag to change.
struct HTTPListener<App: ApplicationProtocol>: ServiceLifecycle.Service {
    let application: App
    /// Who it is for.
    let name: String
    let address: SocketAddress
    let flag: String

    func run() async throws {
        do {
            try await self.application.run()
        } catch {
            throw ControlError(
                "cannot listen for \(self.name) on \(self.address): \(error): check \(self.flag) and what else uses "
                    + "the port")
        }
    }
}
