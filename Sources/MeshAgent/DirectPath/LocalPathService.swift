// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshModel
import MeshProxy
import MeshSteering
import ServiceLifecycle

/// Brings news to the direct path in their order, and has it look around once a second.
struct LocalPathService: ServiceLifecycle.Service {
    /// From loops and the ring of events, which must not wait. What does not fit is lost: ``LocalPath/sweep()`` finds out.
    enum Item: Sendable {
        case event(SteeringEvent)
        case proxied(ConnectionRecord)
    }

    let path: LocalPath
    private let items: AsyncStream<Item>
    private let itemSource: AsyncStream<Item>.Continuation
    private let views: AsyncStream<ProxyView>
    private let viewSource: AsyncStream<ProxyView>.Continuation

    init(path: LocalPath) {
        self.path = path
        (self.items, self.itemSource) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(65_536))
        (self.views, self.viewSource) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    func tell(_ view: ProxyView) { self.viewSource.yield(view) }

    func tell(_ item: Item) { self.itemSource.yield(item) }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            await withTaskGroup(of: Void.self) { group in
                group.addTask { for await view in self.views { await self.path.update(view.snapshot) } }
                group.addTask {
                    for await item in self.items {
                        switch item {
                        case .event(let event): await self.path.handle(event)
                        case .proxied(let record): await self.path.proxied(record)
                        }
                    }
                }
                group.addTask {
                    while !Task.isCancelled {
                        await self.path.sweep()
                        try? await Task.sleep(for: .seconds(1))
                    }
                }
            }
        }
    }
}
