// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import MeshTunnel

/// Going on with relays whose process was killed: those of which every byte is still in the kernel.
extension CarriedState {
    /// Nanoseconds within which the kernel has passed on what it holds for kernel-TLS sockets.
    private static let patience: UInt64 = 300_000_000

    /// Moves what can go on to the connections; the rest is reset, and counted.
    mutating func findKept(_ summary: inout HandOverSummary) {
        defer {
            self.kept = []
            self.keptPipes = []
        }
        if self.kept.isEmpty { return }
        var pipes: [UInt64: CarriedSide.Pipe] = [:]
        var isOutOfDate = false
        for loop in self.keptPipes {
            guard let lent = loop.takeLent() else {
                isOutOfDate = true
                continue
            }
            // A flow's pipe is its loop's; whoever claims otherwise loses.
            for (holder, pipe) in lent { if !pipes.insertIfAbsent(pipe, for: holder) { pipe.close() } }
        }
        defer { for pipe in pipes.values { pipe.close() } }
        let deadline = Clock.monotonic &+ Self.patience
        var waiting = self.kept
        while !waiting.isEmpty {
            let isLast = isOutOfDate || Clock.monotonic >= deadline
            waiting = waiting.filter { relay in
                let finding = isOutOfDate ? .lost : relay.find(&pipes)
                switch finding {
                case .whole:
                    self.connections.append(relay)
                    summary.carried += 1
                case .pending where !isLast: return true
                case .pending, .lost: self.give(up: relay, "bytes were in the daemon's memory when it died", &summary)
                case .closed: self.give(up: relay, "it had just ended when the daemon died", &summary)
                }
                return false
            }
            if !waiting.isEmpty { usleep(5000) }
        }
    }

    private func give(up relay: CarriedConnection, _ why: String, _ summary: inout HandOverSummary) {
        summary.close(why)
        relay.reset()
    }
}

extension CarriedConnection {
    /// Looks whether all bytes are there, and if so takes its pipes and its place in both streams.
    fileprivate func find(_ pipes: inout [UInt64: CarriedSide.Pipe]) -> RelayBalance.Finding {
        let holders = (
            up: PipeLedger.holder(of: self.record.id, isServer: false),
            down: PipeLedger.holder(of: self.record.id, isServer: true)
        )
        guard let balance = self.balance else { return .lost }
        let client, server: (position: RelayBalance.Position, records: KernelTunnel.Records?)
        do throws(SystemError) {
            client = try self.position(self.client)
            server = try self.position(self.server)
        } catch {
            // The kernel is still moving bytes.
            return error.errno == EAGAIN ? .pending : .closed
        }
        let inPipes = (up: Int(pipes[holders.up]?.count ?? 0), down: Int(pipes[holders.down]?.count ?? 0))
        let finding = balance.find(client.position, server.position, inPipes: inPipes)
        guard case .whole(let up, let down) = finding else { return finding }
        self.client.resume(bytes: up, pipe: pipes.removeValue(forKey: holders.up), isEnded: server.position.isEndSent)
        self.server.resume(
            bytes: down, pipe: pipes.removeValue(forKey: holders.down), isEnded: client.position.isEndSent)
        self.isHalfClosed = client.position.isEndSent || server.position.isEndSent
        if let records = client.records ?? server.records {
            self.kernel?.resume(
                records, isCloseSent: client.position.isTunnel ? client.position.isEndSent : server.position.isEndSent)
        }
        return finding
    }

    private func position(
        _ side: CarriedSide
    ) throws(SystemError) -> (position: RelayBalance.Position, records: KernelTunnel.Records?) {
        let counts = try Linux.streamCounts(side.descriptor)
        var position = RelayBalance.Position(counts)
        guard side.flags.contains(.tunnel), let kernel = self.kernel else { return (position, nil) }
        let records = KernelTunnel.Records(
            sent: try Linux.sequenceOfTLS(side.descriptor, .sending, suite: kernel.suite.rawValue),
            received: try Linux.sequenceOfTLS(side.descriptor, .receiving, suite: kernel.suite.rawValue),
            counts: counts)
        position.isTunnel = true
        position.read = WireAccount.content(ofBytes: counts.read, records: records.received)
        position.written = WireAccount.content(ofBytes: counts.written, records: records.sent)
        return (position, records)
    }

    /// Ends it for both sides, so that neither takes what arrived for all there was.
    fileprivate func reset() {
        for fd in [self.client.descriptor, self.server.descriptor] where fd >= 0 {
            Linux.sever(fd, isOrderly: false)
        }
        self.client.descriptor = -1
        self.server.descriptor = -1
    }
}

extension CarriedSide {
    fileprivate mutating func resume(bytes: UInt64, pipe: Pipe?, isEnded: Bool) {
        self.bytes = bytes
        if isEnded { self.flags.formUnion([.ended, .flushed]) }
        // Others may still have the socket, until the service manager forgets it.
        self.flags.insert(.kept)
        self.pipe = pipe
        if let pipe, pipe.count == 0 {
            pipe.close()
            self.pipe = nil
        }
    }
}

extension Dictionary {
    /// - Returns: whether there was none.
    fileprivate mutating func insertIfAbsent(_ value: Value, for key: Key) -> Bool {
        if self[key] != nil { return false }
        self[key] = value
        return true
    }
}
