// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import Logging
import MeshConfiguration
import MeshDNS
import MeshLinux
import MeshModel
import MeshProxy

/// The end of a daemon whose services have ended already: what becomes of its connections.
struct Departure: Sendable {
    let configuration: AgentConfiguration
    let proxy: Proxy
    let names: NameService?
    let supervision: Supervision
    /// Set once the service manager is known to keep descriptors.
    let store: StateStore?
    let environment: [String: String]
    let logger: Logger
    /// Writes out what is still in memory; called when nothing more will come.
    let flush: @Sendable () -> Void

    /// How long connections may take to end by themselves.
    private static let drain = Duration.seconds(5)
    /// How long a new daemon may take to open the state, and how often the service manager hears meanwhile that this
    /// one waits for it (milliseconds).
    private static let commitPatience = Duration.seconds(20)
    private static let beatInterval = 1000

    func depart(_ ending: Endings.Ending?) async {
        switch ending {
        case .takeOver(let request): await self.give(to: request)
        case .drain(let reason): await self.drain(because: reason)
        case .stop, nil: await self.stop()
        }
    }

    // MARK: Stopped

    private func stop() async {
        guard let store = self.store, self.configuration.handOver != .off else {
            return await self.drain(
                because: self.configuration.handOver == .off
                    ? "handOver is off" : "no service manager keeps descriptors (FileDescriptorStoreMax=)")
        }
        let format: Int
        switch await SuccessorCheck.format(logger: self.logger) {
        case .success(let found): format = found
        case .failure(let error): return await self.drain(because: error.description)
        }
        guard let frozen = await self.freeze(format: format) else { return await self.drain(because: "see above") }
        do {
            let parcel = try self.pack(frozen, .restart, format: format)
            try store.put(parcel, on: .state)
            for shelf in [StateStore.Shelf.first, .second] { try store.clear(shelf) }
            self.logger.notice(
                "handed over to the service manager, for the next start; if none comes, it closes everything",
                metadata: frozen.metadata)
        } catch {
            self.logger.error(
                "the state cannot be stored: connections end now", metadata: ["reason": "\(error)"])
        }
    }

    private func drain(because reason: String) async {
        let count = await self.proxy.statistics().connections
        self.logger.info(
            "connections are drained, not handed over",
            metadata: ["reason": "\(reason)", "connections": "\(count)", "deadline": "\(Self.drain)"])
        await self.proxy.drain(deadline: Self.drain)
    }

    // MARK: Taken over

    private func give(to request: TakeOverRequest) async {
        guard let frozen = await self.freeze(format: request.format) else {
            return await self.drain(because: "the data plane cannot be frozen")
        }
        do {
            try await onThread { try self.exchange(frozen, with: request) }
            self.logger.notice(
                "handed over to another nodemeshd",
                metadata: frozen.metadata.merging(
                    ["to.version": "\(request.version)", "to.pid": "\(request.pid)"]) { $1 })
            self.flush()
            // Everything this process still has is the other one's business.
            ProcessImage.exit(0)
        } catch {
            self.logger.error(
                "the other nodemeshd did not take over: this one starts again with what it has",
                metadata: ["reason": "\(error)"])
            // Two that have the same connections must never both go on with them.
            let isSilent = error is Silence
            try? await onThread { request.successor.end(isTold: !isSilent) }
            self.restart(with: frozen, format: request.format)
        }
    }

    private func exchange(_ frozen: Frozen, with request: TakeOverRequest) throws {
        let parcel = try self.pack(frozen, .takeOver, format: request.format)
        try request.connection.send(.state, [parcel.memory.raw, parcel.reader.raw, parcel.writer.raw])
        guard case .commit? = try self.answer(of: request) else {
            throw AgentError("it went away before it had opened the state")
        }
        // From here on the other one has it all.
        try? self.supervision.manager?.notify([.mainProcess(request.pid)])
        try? request.connection.send(.go)
    }

    /// The new daemon neither opens the state nor goes away.
    private struct Silence: Error, CustomStringConvertible {
        var description: String { "it had the state for \(commitPatience.components.seconds) s and said nothing" }
    }

    /// The next message of the new daemon, for which the service manager's watchdog waits as well.
    private func answer(of request: TakeOverRequest) throws -> TakeOverMessage? {
        let deadline = ContinuousClock.now + Self.commitPatience
        while true {
            self.supervision.beat()
            do throws(SystemError) {
                return try request.connection.receiveMessage(milliseconds: Self.beatInterval)?.message
            } catch {
                guard error.errno == ETIMEDOUT else { throw error }
                guard ContinuousClock.now < deadline else {
                    throw Silence()
                }
            }
        }
    }

    /// Starts this very process's program again, with the state as its inheritance.
    private func restart(with frozen: Frozen, format: Int) {
        do {
            let parcel = try self.pack(frozen, .takeOver, format: format)
            self.flush()
            try ProcessImage.restart(
                arguments: CommandLine.arguments, environment: self.environment,
                descriptors: [parcel.memory.raw, parcel.reader.raw, parcel.writer.raw],
                names: StateStore.Shelf.state.parts)
        } catch {
            self.logger.critical("this nodemeshd cannot start again", metadata: ["reason": "\(error)"])
        }
    }

    // MARK: State

    /// A frozen data plane; keeps its descriptors open.
    private final class Frozen: Sendable {
        let state: ProxyState
        let names: CarriedNames?
        let at: UInt64

        init(_ state: consuming ProxyState, _ names: CarriedNames?, at: UInt64) {
            self.state = state
            self.names = names
            self.at = at
        }

        var metadata: Logger.Metadata {
            let summary = self.state.summary
            return [
                "carried": "\(summary.carried)", "tunnels": "\(summary.tunnels)", "begun": "\(summary.restarted)",
                "listeners": "\(summary.listeners)", "drained": "\(HandOverLog.text(summary.closed))",
                "bytes": "\(self.state.byteCount)", "names": "\(self.names?.descriptors.count ?? 0)",
            ]
        }
    }

    private func freeze(format: Int) async -> Frozen? {
        do {
            return try await onThread {
                var names: CarriedNames?
                // Names are answered until then, and relays do not wait for the last answers.
                let state = try self.proxy.freeze(version: format) { names = self.names?.server.freeze() }
                // Relays go on until the very end of freezing.
                return Frozen(state, names, at: Clock.sinceBoot)
            }
        } catch {
            self.logger.error("the data plane cannot be frozen", metadata: ["reason": "\(error)"])
            return nil
        }
    }

    private func pack(_ frozen: Frozen, _ kind: HandOverLabel.Kind, format: Int) throws(SystemError) -> Parcel {
        let summary = frozen.state.summary
        let label = HandOverLabel(
            kind: kind, format: format, version: Version.text, node: self.configuration.node,
            instance: self.configuration.instance, frozenAt: frozen.at, carried: summary.carried,
            tunnels: summary.tunnels, listeners: summary.listeners, drained: summary.closed,
            names: HandOverLabel.Names(frozen.names))
        return try Parcel.pack(frozen.state, frozen.names, label)
    }
}

/// Runs something that blocks on a thread of its own.
func onThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        do throws(SystemError) {
            let thread = try OSThread(name: "nm-departure") { continuation.resume(with: Result { try body() }) }
            thread.detach()
        } catch {
            continuation.resume(throwing: error)
        }
    }
}
