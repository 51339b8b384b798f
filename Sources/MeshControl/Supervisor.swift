// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshLinux
import NIOCore
import ServiceLifecycle
import Synchronization

/// Tells the service manager, if there is one, that nodes are served, and from then on that all is well, as often as it
/// wants to hear it: only while every event loop answers.
struct Supervisor: Service {
    let manager: ServiceManager
    /// nil: the manager does not care.
    let watchdogInterval: Duration?
    let group: any EventLoopGroup
    /// Returns when nodes can connect.
    let isServing: @Sendable () async throws -> Void
    let logger: Logger

    func run() async throws {
        try await cancelWhenGracefulShutdown {
            try await self.isServing()
            self.tell(.ready)
            guard let interval = self.watchdogInterval else { return }
            var wasWell = true
            while !Task.isCancelled {
                let isWell = await self.answers(within: interval / 4)
                if isWell { self.tell(.watchdog) }
                if !isWell, wasWell {
                    self.logger.error("an event loop does not answer; the service manager will end the control plane")
                }
                wasWell = isWell
                try? await Task.sleep(for: interval / 4)
            }
        }
        // The others go on until the end.
        try? await gracefulShutdown()
        self.tell(.stopping)
    }

    /// Whether every event loop runs a job within that time.
    private func answers(within time: Duration) async -> Bool {
        let left = Left(self.group.makeIterator().reduce(0) { count, _ in count + 1 })
        for loop in self.group.makeIterator() { loop.execute { left.take() } }
        let deadline = ContinuousClock.now + time
        while left.count > 0, ContinuousClock.now < deadline { try? await Task.sleep(for: .milliseconds(10)) }
        return left.count == 0
    }

    private final class Left: Sendable {
        private let value: Atomic<Int>
        init(_ count: Int) { self.value = Atomic(count) }
        var count: Int { self.value.load(ordering: .acquiring) }
        func take() { self.value.subtract(1, ordering: .releasing) }
    }

    private func tell(_ notice: ServiceManager.Notice) {
        do throws(SystemError) {
            try self.manager.notify([notice])
        } catch {
            self.logger.debug("the service manager cannot be told", metadata: ["reason": "\(error)"])
        }
    }
}
