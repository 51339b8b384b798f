// SPDX-License-Identifier: Apache-2.0
import MeshModel
import Testing

@testable import MeshProxy

@Suite struct SetupStateMachineTests {
    private typealias Machine = SetupStateMachine

    /// A machine in each state, by the shortest way there.
    private static func machines(_ origin: Machine.Origin, attempts: Int = 0) -> [(String, Machine)] {
        func made(_ steps: (inout Machine) -> Void) -> Machine {
            var machine = Machine(origin: origin, extraAttempts: attempts)
            steps(&machine)
            return machine
        }
        func toResolving(_ machine: inout Machine) {
            _ = machine.secured()
            _ = machine.requested()
        }
        func toDialing(_ machine: inout Machine) {
            toResolving(&machine)
            _ = machine.resolved()
        }
        return [
            ("begun", made { _ in }),
            ("handshakeParked", made { _ = $0.identityMissing() }),
            ("awaitingRequest", made { _ = $0.secured() }),
            ("resolving", made { toResolving(&$0) }),
            (
                "parked",
                made {
                    toResolving(&$0)
                    _ = $0.identityMissing()
                }
            ),
            ("dialing", made { toDialing(&$0) }),
            (
                "securingServer",
                made {
                    toDialing(&$0)
                    _ = $0.connected(isTunnel: true)
                }
            ),
            (
                "awaitingAnswer",
                made {
                    toDialing(&$0)
                    _ = $0.connected(isTunnel: true)
                    _ = $0.secured()
                }
            ),
            (
                "relaying",
                made {
                    toDialing(&$0)
                    _ = $0.connected(isTunnel: false)
                }
            ),
            (
                "failed",
                made {
                    toResolving(&$0)
                    _ = $0.failed(.connectFailed, isRetryable: false)
                }
            ),
            ("closed", made { _ = $0.ended(.shutdown) }),
        ]
    }

    /// The action that each event gives in each state.
    private func table(_ origin: Machine.Origin, _ event: (inout Machine) -> Machine.Action) -> [String: Machine.Action]
    {
        var table: [String: Machine.Action] = [:]
        for (name, machine) in Self.machines(origin) {
            var machine = machine
            let action = event(&machine)
            if action != .none { table[name] = action }
        }
        return table
    }

    @Test func `a tunnel from a peer, event by event`() {
        #expect(self.table(.tunnel) { $0.identityMissing() } == [:])
        #expect(self.table(.tunnel) { $0.viewChanged() } == ["handshakeParked": .resumeHandshake, "parked": .resolve])
        #expect(self.table(.tunnel) { $0.secured() } == ["securingServer": .sendRequest])
        #expect(self.table(.tunnel) { $0.requested() } == ["awaitingRequest": .resolve])
        #expect(self.table(.tunnel) { $0.resolved() } == ["resolving": .connect])
        #expect(self.table(.tunnel) { $0.connected(isTunnel: false) } == ["dialing": .relay])
        #expect(self.table(.tunnel) { $0.connected(isTunnel: true) } == ["dialing": .secure])
        #expect(self.table(.tunnel) { $0.accepted() } == ["awaitingAnswer": .relay])
        #expect(self.table(.tunnel) { $0.refusalDone() } == ["failed": .close(.connectFailed)])
        #expect(
            self.table(.tunnel) { $0.failed(.policyDenied, isRetryable: true) } == [
                "begun": .close(.policyDenied), "handshakeParked": .close(.policyDenied),
                "awaitingRequest": .refuse(.policyDenied), "resolving": .refuse(.policyDenied),
                "parked": .refuse(.policyDenied), "dialing": .refuse(.policyDenied),
                "securingServer": .refuse(.policyDenied), "awaitingAnswer": .refuse(.policyDenied),
                "relaying": .close(.policyDenied), "failed": .close(.policyDenied),
            ])
        #expect(
            self.table(.tunnel) { $0.timedOut() } == [
                "begun": .close(.tlsFailed), "handshakeParked": .close(.identityUnavailable),
                "awaitingRequest": .refuse(.protocolError), "resolving": .refuse(.connectTimeout),
                "parked": .refuse(.identityUnavailable), "dialing": .refuse(.connectTimeout),
                "securingServer": .refuse(.tlsFailed), "awaitingAnswer": .refuse(.connectTimeout),
                "relaying": .close(.idleTimeout), "failed": .close(.connectFailed),
            ])
        let ended = self.table(.tunnel) { $0.ended(.clientReset) }
        #expect(ended.count == 10 && ended["closed"] == nil && ended["failed"] == .close(.connectFailed))
        #expect(ended.filter { $0.key != "failed" }.values.allSatisfy { $0 == .close(.clientReset) })
    }

    @Test func `a captured connection is reset, never answered`() {
        for origin in [Machine.Origin.capturedInbound, .capturedOutbound] {
            for (_, machine) in Self.machines(origin) {
                var machine = machine
                let action = machine.failed(.connectRefused, isRetryable: true)
                #expect(action == .none || action == .close(.connectRefused))
                #expect(machine.ended(.shutdown) == .none)
            }
        }
    }

    @Test func `only outbound connections try again, as often as allowed`() {
        for (name, machine) in Self.machines(.capturedOutbound, attempts: 2) {
            guard ["dialing", "securingServer", "awaitingAnswer"].contains(name) else { continue }
            var machine = machine
            #expect(machine.failed(.connectRefused, isRetryable: true) == .resolve)
            #expect(machine.resolved() == .connect)
            #expect(machine.timedOut() == .resolve)
            #expect(machine.resolved() == .connect)
            #expect(machine.failed(.connectRefused, isRetryable: true) == .close(.connectRefused))
        }
        var dialing = Machine(origin: .capturedOutbound, extraAttempts: 2)
        _ = dialing.resolved()
        #expect(dialing.failed(.policyDenied, isRetryable: false) == .close(.policyDenied))
    }

    @Test func `timers fire in order`() {
        var timers = Timers()
        for time: UInt64 in [50, 10, 40, 20, 30, 20] {
            timers.add(.init(time: time, index: UInt32(time)))
        }
        #expect(timers.next == 10)
        var fired: [UInt64] = []
        while let entry = timers.pop(now: 40) { fired.append(entry.time) }
        #expect(fired == [10, 20, 20, 30, 40])
        #expect(timers.count == 1 && timers.next == 50)
    }

    @Test func `blocks are bounded and come back`() {
        var pool = BlockPool(batch: 2, lentLimit: 2)
        let (a, b, c) = (pool.take(), pool.take(), pool.take())
        #expect(a.pointee.isLarge && b.pointee.isLarge && !c.pointee.isLarge)
        let lent = pool.lent
        #expect(lent == 3)
        a.pointee.end = 5
        for block in [a, b, c] { pool.give(block) }
        let left = pool.lent
        #expect(left == 0)
        let again = [pool.take(), pool.take()]
        #expect(again.allSatisfy { !$0.pointee.hasBytes && $0.pointee.tailCount == 0 })
        for block in again { pool.give(block) }
    }

    @Test func `a pipe with bytes in it never reaches another connection`() throws {
        var pool = try PipePool(size: 65536, limit: 1)
        let first = pool.take(for: 1)
        let pipe = try #require(first)
        let none = pool.take(for: 1)
        #expect(none == nil)
        let dirty = pool[pipe]
        pool.give(pipe, isEmpty: false)
        let second = pool.take(for: 1)
        let again = try #require(second)
        let (clean, lent) = (pool[again], pool.lent)
        #expect(clean.read >= 0 && dirty.read >= 0 && lent == 1)
        pool.give(again, isEmpty: true)
        let left = pool.lent
        #expect(left == 0)
    }
}
