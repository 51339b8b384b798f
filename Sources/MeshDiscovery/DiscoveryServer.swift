// SPDX-License-Identifier: Apache-2.0

import GRPCCore
import Logging
import MeshAPI
import Synchronization

/// Serves delta discovery streams from tables that its owner keeps up to date. Each stream is sent what differs from
/// what its client holds, and nothing else.
///
/// Register it with a gRPC server as a service. A type that was never set is not answered at all: a control plane that
/// is still loading must not tell nodes that the mesh is empty.
package final class DiscoveryServer: Sendable {
    /// Who opened a stream, and whether that is still so.
    package struct Peer: Sendable, Hashable {
        /// For logs and status: a node's name.
        package var name: String
        package init(name: String) { self.name = name }
    }

    /// Decides from the transport's facts who is calling; throws `RPCError` (unauthenticated, permissionDenied) to
    /// refuse.
    package typealias Authorise = @Sendable (ServerContext) async throws -> Peer

    private struct State {
        var tables: [ResourceType: ResourceTable] = [:]
        var revision: UInt64 = 0
        var streams: [UInt64: Stream] = [:]
        /// How many of the streams each client has.
        var peers: [Peer: Int] = [:]
        var lastStream: UInt64 = 0
        var isShutDown = false
    }

    /// One client: its machine, and the bell that wakes its writer.
    private final class Stream: Sendable {
        let peer: Peer
        let machine: Mutex<DeltaServerStream>
        let bell: AsyncStream<Void>.Continuation

        init(peer: Peer, limits: DiscoveryLimits, bell: AsyncStream<Void>.Continuation) {
            self.peer = peer
            self.machine = Mutex(DeltaServerStream(limits: limits))
            self.bell = bell
        }
    }

    private let state = Mutex(State())
    private let limits: DiscoveryLimits
    private let logger: Logger
    private let authorise: Authorise

    package init(limits: DiscoveryLimits = .init(), logger: Logger, authorise: @escaping Authorise) {
        self.limits = limits
        self.logger = logger
        self.authorise = authorise
    }

    /// Makes a type hold exactly these resources.
    package func set(_ type: ResourceType, to resources: [DiscoveryResource]) {
        self.set([type: resources])
    }

    /// Makes each of these types hold exactly these resources, all at once: no stream sees some of it without the rest.
    ///
    /// - Parameter revision: of the store that they are made from; it must never fall. 0: there is no such thing.
    package func set(_ resources: [ResourceType: [DiscoveryResource]], revision: UInt64 = 0) {
        self.state.withLock { $0.revision = max($0.revision, revision) }
        self.change { tables in
            var isChanged = false
            for (type, list) in resources {
                let isNew = tables[type] == nil
                let changed = tables[type, default: ResourceTable(logLength: self.limits.logLength)].replace(with: list)
                isChanged = isChanged || isNew || changed
            }
            return isChanged
        }
    }

    /// Changes some resources of a type that was set before, and leaves the others.
    package func update(_ type: ResourceType, upserting: [DiscoveryResource], removing: [String]) {
        self.change { tables in
            tables[type, default: ResourceTable(logLength: self.limits.logLength)]
                .update(upserting: upserting, removing: removing)
        }
    }

    /// The names of those who are connected, one for each stream.
    package var peers: [String] { self.state.withLock { $0.streams.values.map(\.peer.name).sorted() } }

    /// Ends every stream and accepts no more; clients reconnect elsewhere.
    package func shutDown() {
        let streams = self.state.withLock { state in
            state.isShutDown = true
            return Array(state.streams.values)
        }
        for stream in streams { stream.bell.finish() }
    }

    private func change(_ body: (inout [ResourceType: ResourceTable]) -> Bool) {
        let bells = self.state.withLock { state in
            body(&state.tables) ? state.streams.values.map(\.bell) : []
        }
        for bell in bells { bell.yield() }
    }

    private func next(for stream: Stream) -> Envoy_Service_Discovery_V3_DeltaDiscoveryResponse? {
        self.state.withLock { state in stream.machine.withLock { $0.next(from: state.tables, revision: state.revision) }
        }
    }

    private func open(_ stream: Stream) throws(RPCError) -> UInt64 {
        try self.state.withLock { state throws(RPCError) in
            guard !state.isShutDown else {
                throw RPCError(code: .unavailable, message: "the control plane is stopping")
            }
            guard state.streams.count < self.limits.streams else {
                throw RPCError(
                    code: .resourceExhausted,
                    message: "the control plane already serves \(self.limits.streams) discovery streams")
            }
            guard state.peers[stream.peer, default: 0] < self.limits.streamsPerPeer else {
                throw RPCError(
                    code: .resourceExhausted,
                    message: "\(stream.peer.name) already has \(self.limits.streamsPerPeer) discovery streams")
            }
            state.peers[stream.peer, default: 0] += 1
            state.lastStream += 1
            state.streams[state.lastStream] = stream
            return state.lastStream
        }
    }
}

extension DiscoveryServer {
    private func close(_ id: UInt64) {
        self.state.withLock { state in
            guard let peer = state.streams.removeValue(forKey: id)?.peer else { return }
            let left = state.peers[peer, default: 1] - 1
            state.peers[peer] = left > 0 ? left : nil
        }
    }
}

extension DiscoveryServer: Envoy_Service_Discovery_V3_AggregatedDiscoveryService.ServiceProtocol {
    package func deltaAggregatedResources(
        request: StreamingServerRequest<Envoy_Service_Discovery_V3_DeltaDiscoveryRequest>, context: ServerContext
    ) async throws -> StreamingServerResponse<Envoy_Service_Discovery_V3_DeltaDiscoveryResponse> {
        let peer = try await self.authorise(context)
        return StreamingServerResponse { writer in
            try await self.serve(request, to: peer, writer: writer)
            return [:]
        }
    }

    private func serve(
        _ request: StreamingServerRequest<Envoy_Service_Discovery_V3_DeltaDiscoveryRequest>, to peer: Peer,
        writer: RPCWriter<Envoy_Service_Discovery_V3_DeltaDiscoveryResponse>
    ) async throws {
        let (bells, bell) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let stream = Stream(peer: peer, limits: self.limits, bell: bell)
        var logger = self.logger
        logger[metadataKey: "node.id"] = "\(peer.name)"
        let id: UInt64
        do {
            id = try self.open(stream)
        } catch {
            logger.error("a discovery stream was refused", metadata: ["error": "\(error.message)"])
            throw error
        }
        defer { self.close(id) }
        logger.debug("a discovery stream opened")

        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { [logger] in
                defer { bell.finish() }
                for try await message in request.messages {
                    try Self.take(message, for: stream, logger: logger)
                    bell.yield()
                }
            }
            group.addTask {
                for await _ in bells {
                    while let response = self.next(for: stream) { try await writer.write(response) }
                }
            }
            // Whichever ends first ends the stream.
            try await group.next()
            group.cancelAll()
        }
        logger.debug("a discovery stream ended")
    }

    private static func take(
        _ message: Envoy_Service_Discovery_V3_DeltaDiscoveryRequest, for stream: Stream, logger: Logger
    ) throws {
        do {
            let received = try stream.machine.withLock { machine throws(DiscoveryError) in
                try machine.received(message)
            }
            switch received {
            case .rejected(let type, let text):
                logger.warning(
                    "a node refused resources",
                    metadata: ["discovery.type": "\(type)", "error": "\(text)"])
            case .unknownType(let type):
                logger.debug("a node asked for an unknown type", metadata: ["discovery.type": "\(type)"])
            case .subscribed, .acknowledged, .ignored: break
            }
        } catch {
            logger.warning("a node broke the discovery protocol", metadata: ["error": "\(error)"])
            throw RPCError(code: .invalidArgument, message: error.message)
        }
    }
}
