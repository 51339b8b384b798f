// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshConfiguration
import MeshLinux
import MeshProxy
import ServiceLifecycle
import Synchronization

/// Has the service manager keep what the next run needs if this one ends without a word.
final class CrashKeeper: ServiceLifecycle.Service {
    private let configuration: AgentConfiguration
    private let proxy: Proxy
    private let supervision: Supervision
    private let logger: Logger
    private let found = Mutex<StateStore?>(nil)

    init(_ configuration: AgentConfiguration, proxy: Proxy, supervision: Supervision, logger: Logger) {
        self.configuration = configuration
        self.proxy = proxy
        self.supervision = supervision
        self.logger = logger
    }

    /// nil: the service manager keeps nothing, or it is not known yet whether it does.
    var store: StateStore? { self.found.withLock { $0 } }

    func run() async throws {
        let manager = self.supervision.manager
        if manager != nil, let store = try? await onThread({ StateStore(manager) }) {
            self.found.withLock { $0 = store }
            self.logger.info("the service manager keeps descriptors: a restart or an upgrade loses no connection")
        } else if manager != nil {
            self.logger.warning(
                "the service manager keeps no descriptors: a restart ends all connections; set FileDescriptorStoreMax=")
        }
        try? await gracefulShutdown()
    }
}
