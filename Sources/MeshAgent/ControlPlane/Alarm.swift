// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Wakes one waiting loop: at once, or after a time unless something else set another time before.
final class Alarm: Sendable {
    /// Rings that nobody waited for count as one.
    let rings: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation
    private let clock: any AgentClock
    private let timer = Mutex<Task<Void, Never>?>(nil)

    init(clock: any AgentClock) {
        self.clock = clock
        (self.rings, self.continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    }

    deinit { self.stop() }

    func ring() { self.continuation.yield() }

    /// nil: only when rung.
    func ring(after duration: Duration?) {
        let task = duration.map { duration in
            Task { [continuation, clock] in
                do { try await clock.sleep(for: max(.zero, duration)) } catch { return }
                continuation.yield()
            }
        }
        let previous = self.timer.withLock { timer in
            defer { timer = task }
            return timer
        }
        previous?.cancel()
    }

    /// Ends the loop that waits.
    func stop() {
        self.ring(after: nil)
        self.continuation.finish()
    }
}
