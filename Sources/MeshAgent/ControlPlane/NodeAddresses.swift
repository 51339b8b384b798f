// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshLinux
import MeshModel
import ServiceLifecycle
import Synchronization

/// On which addresses peers reach this node: the configured ones, or the one that routes to the control plane. Looking
/// for the latter may wait for a resolver, so it happens beside everything else, again and again.
package final class NodeAddresses: ServiceLifecycle.Service {
    private static let retry = Duration.seconds(5)
    private static let interval = Duration.seconds(60)

    private struct State {
        var addresses: [IPAddress]
        var onChange: (@Sendable () async -> Void)?
    }

    private let isConfigured: Bool
    private let host: String
    private let logger: Logger
    private let queue = StateQueue()
    private let state: Mutex<State>

    /// - Parameter last: those of the last run, good until better are known.
    package init(configured: [IPAddress], towards host: String, last: [IPAddress], logger: Logger) {
        self.isConfigured = !configured.isEmpty
        self.host = host
        self.logger = logger
        self.state = Mutex(State(addresses: configured.isEmpty ? last : configured))
    }

    /// nil: none is known yet.
    package var current: [IPAddress]? {
        let addresses = self.state.withLock { $0.addresses }
        return addresses.isEmpty ? nil : addresses
    }

    package func onChange(_ body: @escaping @Sendable () async -> Void) {
        self.state.withLock { $0.onChange = body }
    }

    package func run() async throws {
        try await cancelWhenGracefulShutdown {
            var isTold = false
            while !self.isConfigured {
                let host = self.host
                let found = try? await self.queue.run {
                    Linux.sourceAddress(towards: host).map { IPAddress(high: $0.high, low: $0.low) }
                }
                if let address = found ?? nil {
                    await self.take(address)
                    isTold = false
                } else if !isTold {
                    isTold = true
                    self.logger.warning(
                        "this node's address is not known: the control plane's name does not resolve, or there is no route",
                        metadata: ["host": "\(host)", "last": "\(self.current ?? [])", "hint": "set nodeAddresses"])
                }
                try await Task.sleep(for: isTold ? Self.retry : Self.interval)
            }
            // A service that ends would end the daemon.
            try await Task.sleep(for: .seconds(1 << 40))
        }
    }

    private func take(_ address: IPAddress) async {
        let onChange = self.state.withLock { state in
            guard state.addresses != [address] else { return (@Sendable () async -> Void)?.none }
            state.addresses = [address]
            return state.onChange
        }
        await onChange?()
    }
}
