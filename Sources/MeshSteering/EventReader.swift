// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import CMeshABI
import Glibc
import MeshLinux
import Synchronization

/// Reads the event ring on a thread of its own until ``stop()``, or until it is released.
package final class EventReader: Sendable {
    private let ring: Ring
    private let thread: Mutex<OSThread?>

    init(maps: SteeringMaps, handler: @escaping @Sendable (SteeringEvent) -> Void) throws(SteeringError) {
        do throws(SystemError) {
            let ring = try Ring(maps: maps, handler: handler)
            self.ring = ring
            self.thread = Mutex(try OSThread(name: "nm-events") { ring.run() })
        } catch {
            throw SteeringError(.system, "event ring: \(error)")
        }
    }

    deinit { self.stop() }

    /// Ends the thread. When it returns, the handler runs no more. Not to be called by the handler.
    package func stop() {
        self.ring.stop()
        let thread = self.thread.withLock { $0.take() }
        if let thread { thread.join() }
    }

    /// libbpf's reader. Only the reader's thread touches `reader` and `offset` after the initialiser, hence unchecked.
    final class Ring: @unchecked Sendable {
        /// The ring's memory lives as long as its map.
        private let maps: SteeringMaps
        private let handler: @Sendable (SteeringEvent) -> Void
        private let wakeUp: WakeUp
        private let epoll: Epoll
        private var reader: OpaquePointer?
        private var wallMinusMonotonic: UInt64 = 0
        private let isStopped = Atomic(false)

        init(maps: SteeringMaps, handler: @escaping @Sendable (SteeringEvent) -> Void) throws(SystemError) {
            self.maps = maps
            self.handler = handler
            self.wakeUp = try WakeUp()
            self.epoll = try Epoll(capacity: 2)
            let context = Unmanaged.passUnretained(self).toOpaque()
            guard let reader = ring_buffer__new(maps[.events], EventReader.takeEvent, context, nil) else {
                throw SystemError(call: "ring_buffer__new", errno: errno)
            }
            self.reader = reader
            try self.epoll.add(ring_buffer__epoll_fd(reader), .readable, data: 0)
            try self.epoll.add(self.wakeUp.raw, .readable, data: 1)
        }

        deinit { ring_buffer__free(self.reader) }

        func stop() {
            self.isStopped.store(true, ordering: .releasing)
            self.wakeUp.signal()
        }

        func run() {
            while !self.isStopped.load(ordering: .acquiring) {
                // Anew for each batch: the wall clock is set now and then.
                self.wallMinusMonotonic = Clock.wall &- Clock.monotonic
                // What the ring held before epoll watched it raises no event.
                _ = ring_buffer__consume(self.reader)
                _ = try? self.epoll.wait(milliseconds: CInt(NM_EVENTS_PAUSE))
            }
        }

        func take(_ event: nm_event) {
            guard let event = SteeringEvent(event, wallMinusMonotonic: self.wallMinusMonotonic) else { return }
            self.handler(event)
        }

        /// Whether libbpf should go on.
        var goesOn: Bool { !self.isStopped.load(ordering: .acquiring) }

        static func from(_ context: UnsafeMutableRawPointer) -> Ring {
            Unmanaged<Ring>.fromOpaque(context).takeUnretainedValue()
        }
    }

    /// libbpf's callback. A negative result ends the batch; the rest stays in the ring.
    static let takeEvent: ring_buffer_sample_fn = { context, data, size in
        guard let context, let data, size >= MemoryLayout<nm_event>.size else { return 0 }
        let ring = Ring.from(context)
        ring.take(data.loadUnaligned(as: nm_event.self))
        return ring.goesOn ? 0 : -ECANCELED
    }
}

extension Steering {
    /// Reads what the programs announce from now on, and what they announced while nobody read, as far as the ring held it.
    /// One reader at a time; `handler` runs on the reader's thread and must not wait.
    package func events(_ handler: @escaping @Sendable (SteeringEvent) -> Void) throws(SteeringError) -> EventReader {
        try EventReader(maps: self.maps, handler: handler)
    }
}
