// SPDX-License-Identifier: Apache-2.0
import MeshModel
import Synchronization

/// Each workload's share of the node's proxy.
extension LoopCore {
    // MARK: - Connections

    /// Counts a connection for its local workload, once, against that workload's limits.
    ///
    /// - Returns: whether it may go on; if not, it was ended.
    func admitToWorkload(_ connection: Connection) -> Bool {
        guard let workload = connection.workload, connection.traffic.usage == nil else { return true }
        guard self.admit(connection, to: workload) else { return false }
        connection.traffic.usage = workload.usage
        connection.traffic.owner = workload.slot
        return true
    }

    /// As ``admitToWorkload(_:)``, for a destination on this node.
    func admitToDestination(_ workload: LocalWorkload, _ connection: Connection) -> Bool {
        connection.traffic.destinationUsage?.ended()
        connection.traffic.destinationUsage = nil
        if workload.usage === connection.traffic.usage { return true }
        guard self.admit(connection, to: workload) else { return false }
        connection.traffic.destinationUsage = workload.usage
        return true
    }

    private func admit(_ connection: Connection, to workload: LocalWorkload) -> Bool {
        do throws(WorkloadUsage.Refusal) {
            try workload.usage.admit(now: self.now)
            return true
        } catch {
            self.shed(connection, workload, error)
            return false
        }
    }

    private func shed(_ connection: Connection, _ workload: LocalWorkload, _ refusal: WorkloadUsage.Refusal) {
        self.count(refusal)
        self.fail(connection, .limitExceeded, "workload \(workload.id): \(refusal.text)")
    }

    private func count(_ refusal: WorkloadUsage.Refusal) {
        let counters = self.settings.traffic
        switch refusal {
        case .maxConnections: counters.refusedWorkloadConnections.wrappingAdd(1, ordering: .relaxed)
        case .connectionsPerSecond: counters.refusedWorkloadRate.wrappingAdd(1, ordering: .relaxed)
        case .handshakesPerSecond: counters.refusedHandshakes.wrappingAdd(1, ordering: .relaxed)
        }
    }

    // MARK: - Handshakes

    /// Asks a workload's limit of handshakes, for one that it is about to begin.
    ///
    /// - Returns: why not, for the record's detail; nil: it may.
    func refuseHandshake(of workload: LocalWorkload, for connection: Connection) -> String? {
        do throws(WorkloadUsage.Refusal) {
            try workload.usage.admitHandshake(now: self.now)
            return nil
        } catch {
            // A tunnel that nobody waits for yet is just not made.
            if !connection.isQuiet { self.count(error) }
            return "workload \(workload.id): \(error.text)"
        }
    }

    // MARK: - Bytes

    /// Below this rate (bytes per second) a flow moves one record at a time, so that it keeps to it closely.
    private static let preciseRate: UInt64 = 32 << 20

    /// Whether bytes of this connection are counted against a limit; asked when it begins to relay and in each new view.
    func updateMetering(_ connection: Connection) {
        let isMetered =
            (connection.traffic.usage?.bytesPerSecond ?? 0) > 0
            || (connection.traffic.destinationUsage?.bytesPerSecond ?? 0) > 0
        for index in [connection.index, connection.server] {
            if isMetered {
                self.sides[index].pointee.flags.insert(.metered)
            } else {
                self.sides[index].pointee.flags.remove(.metered)
            }
        }
        // What it waited for may not hold any more.
        if connection.traffic.pausedUntil != 0 { self.makeReady(connection) }
    }

    /// Moves bytes from a side to the other one as fast as its workloads may. Over the limit nothing more is read, so
    /// that TCP slows the sender down; a timer goes on with it.
    func pumpMetered(_ index: UInt32, _ connection: Connection) throws(RelayFailure) -> Bool {
        let source = self.sides[index]
        let (usage, other) = (connection.traffic.usage, connection.traffic.destinationUsage)
        var rate = UInt64.max
        for limit in [usage?.bytesPerSecond ?? 0, other?.bytesPerSecond ?? 0] where limit > 0 {
            rate = min(rate, limit)
        }
        let isThrifty = rate < Self.preciseRate
        self.blocks.isThrifty = isThrifty
        self.pipes.isThrifty = isThrifty
        self.stepsLeft = 1
        defer {
            self.blocks.isThrifty = false
            self.pipes.isThrifty = false
            self.stepsLeft = Self.steps
        }
        for _ in 0..<Self.steps {
            let wait = max(usage?.wait(now: self.now) ?? 0, other?.wait(now: self.now) ?? 0)
            // A socket that broke has nothing more to give, and its error must not wait.
            let mustWait = wait > 0 && !source.pointee.flags.contains(.failed)
            let isReadable = source.pointee.flags.contains(.readable)
            // What was read already goes on its way even so.
            if mustWait { source.pointee.flags.remove(.readable) }
            let before = source.pointee.bytes
            let hasMore: Bool
            do throws(RelayFailure) {
                hasMore = try self.pumpUnmetered(index, connection)
            } catch {
                if mustWait, isReadable { source.pointee.flags.insert(.readable) }
                throw error
            }
            let moved = source.pointee.bytes - before
            if moved > 0 {
                usage?.spend(moved, now: self.now)
                other?.spend(moved, now: self.now)
            }
            if mustWait {
                if isReadable { source.pointee.flags.insert(.readable) }
                if source.pointee.flags.contains(.flushed) { return false }
                if hasMore || isReadable { self.pause(connection, for: wait) }
                return false
            }
            if !hasMore { return false }
        }
        return true
    }

    private func pause(_ connection: Connection, for nanoseconds: UInt64) {
        if connection.traffic.pausedUntil != 0 { return }
        self.settings.traffic.pauses.wrappingAdd(1, ordering: .relaxed)
        let time = self.now &+ nanoseconds
        connection.traffic.pausedUntil = time
        self.timers.add(Timers.Entry(time: time, index: connection.index))
    }

    /// Goes on with a connection whose pause is over; called for each of its timers.
    func resumeIfDue(_ connection: Connection) {
        guard connection.traffic.pausedUntil != 0, connection.traffic.pausedUntil <= self.now else { return }
        connection.traffic.pausedUntil = 0
        if case .relaying = connection.machine.state { self.makeReady(connection) }
    }
}
