// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshStore
import ServiceLifecycle

/// What has to be done now and then: declare silent nodes dead, write down who was heard from, renew the server's
/// certificate.
struct Housekeeping: Service {
    /// Seconds between writes of when nodes were last heard from.
    static let writeInterval: TimeInterval = 10
    /// Seconds between two looks at the certificate.
    private static let renewalInterval = 3600

    let store: Store
    let liveness: NodeLiveness
    let publisher: MeshPublisher
    let credentials: ServerCredentials
    let authorities: AuthorityKeeper
    let logger: Logger

    func run() async throws {
        await cancelWhenGracefulShutdown {
            var seconds = 0
            while (try? await Task.sleep(for: .seconds(1))) != nil {
                seconds += 1
                self.sweep()
                await self.rotate()
                if seconds % Int(Self.writeInterval) == 0 { await self.write() }
                if seconds % Self.renewalInterval == 0 { self.renew() }
            }
        }
        await self.write()
    }

    private func sweep() {
        let died = self.liveness.sweep(now: .now)
        for node in died.sorted() {
            self.logger.warning(
                "a node is silent: its workloads count as unhealthy",
                metadata: ["node.id": "\(node)", "timeout": "\(self.liveness.timeout)"])
        }
        if !died.isEmpty { self.publisher.changed() }
    }

    /// Goes on with a rotation of the root that waits for nobody any more.
    private func rotate() async {
        do {
            if try await self.authorities.advance() { self.publisher.changed() }
        } catch {
            self.logger.error("the rotation of the root cannot go on", metadata: ["error": "\(error)"])
        }
    }

    private func write() async {
        let now = Date()
        let heard = self.liveness.takeHeard(now: .now)
        if heard.isEmpty { return }
        do {
            try await self.store.touchNodes(heard.mapValues { now.addingTimeInterval(-$0.seconds) })
        } catch {
            self.logger.error("cannot write when nodes were last heard from", metadata: ["error": "\(error)"])
        }
    }

    private func renew() {
        do {
            try self.credentials.renewIfDue(now: Date())
        } catch {
            self.logger.error("the server's certificate cannot be renewed", metadata: ["error": "\(error)"])
        }
    }
}

extension Duration {
    var seconds: Double { Double(self.components.seconds) + Double(self.components.attoseconds) * 1e-18 }
}
