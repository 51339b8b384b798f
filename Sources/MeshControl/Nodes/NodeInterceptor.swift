// SPDX-License-Identifier: Apache-2.0

import Foundation
import GRPCCore
import MeshAPI
import MeshStore

/// Stands before every call of a node: refuses all but Join without a valid node certificate, ends calls whose node is
/// deleted or whose certificate ends, and counts.
struct NodeInterceptor: ServerInterceptor {
    let authenticator: NodeAuthenticator
    let sessions: NodeSessions
    let metrics: ControlMetrics

    func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingServerRequest<Input>, context: ServerContext,
        next:
            @Sendable (StreamingServerRequest<Input>, ServerContext) async throws -> StreamingServerResponse<Output>
    ) async throws -> StreamingServerResponse<Output> {
        let method = context.descriptor.method
        do {
            if context.descriptor == Nodemesh_V1_NodeService.Method.Join.descriptor {
                return self.count(try await next(request, context), method)
            }
            let node = try await self.authenticator.authenticate(context)
            var request = request
            let metrics = self.metrics
            request.messages = RPCAsyncSequence(
                wrapping: request.messages.map { message in
                    Self.countRejection(message, metrics)
                    return message
                })
            return self.count(self.limit(try await next(request, context), to: node), method)
        } catch {
            self.metrics.request("grpc", method, Self.code(of: error))
            throw error
        }
    }

    /// Ends the response when the node may no longer have it.
    private func limit<Output: Sendable>(
        _ response: StreamingServerResponse<Output>, to node: AuthenticatedNode
    ) -> StreamingServerResponse<Output> {
        guard case .success(var contents) = response.accepted else { return response }
        let (producer, sessions, metrics) = (contents.producer, self.sessions, self.metrics)
        let store = self.authenticator.store
        contents.producer = { writer in
            let counting = RPCWriter(wrapping: CountingWriter(base: writer, metrics: metrics))
            return try await withThrowingTaskGroup(of: Metadata?.self) { group in
                group.addTask { try await producer(counting) }
                group.addTask {
                    await sessions.waitForEnd(of: node.name) {
                        do {
                            return try await store.node(node.name)?.joinID == node.joinID
                        } catch {
                            // A store that cannot answer ends nobody.
                            return true
                        }
                    }
                    if Task.isCancelled { return nil }
                    throw RPCError(code: .unauthenticated, message: "the node \(node.name) was deleted")
                }
                group.addTask {
                    guard (try? await Task.sleep(for: .seconds(max(0, node.notAfter.timeIntervalSinceNow)))) != nil
                    else { return nil }
                    throw RPCError(
                        code: .unauthenticated, message: "the certificate of the node \(node.name) has expired")
                }
                defer { group.cancelAll() }
                while let result = try await group.next() {
                    if let metadata = result { return metadata }
                }
                throw CancellationError()
            }
        }
        return StreamingServerResponse(accepted: .success(contents))
    }

    private func count<Output: Sendable>(
        _ response: StreamingServerResponse<Output>, _ method: String
    ) -> StreamingServerResponse<Output> {
        let metrics = self.metrics
        switch response.accepted {
        case .failure(let error):
            metrics.request("grpc", method, Self.code(of: error))
            return response
        case .success(var contents):
            let producer = contents.producer
            contents.producer = { writer in
                do {
                    let metadata = try await producer(writer)
                    metrics.request("grpc", method, "ok")
                    return metadata
                } catch {
                    metrics.request("grpc", method, Self.code(of: error))
                    throw error
                }
            }
            return StreamingServerResponse(accepted: .success(contents))
        }
    }

    private static func code(of error: any Error) -> String {
        switch error {
        case let error as RPCError: error.code.description
        case is CancellationError: "cancelled"
        default: "unknown"
        }
    }

    private static func countRejection<Input>(_ message: Input, _ metrics: ControlMetrics) {
        guard let message = message as? Envoy_Service_Discovery_V3_DeltaDiscoveryRequest, message.hasErrorDetail
        else { return }
        metrics.rejected(DiscoveryTypeName.of(message.typeURL))
    }
}

/// Counts the discovery responses that pass.
private struct CountingWriter<Element: Sendable>: RPCWriterProtocol {
    let base: RPCWriter<Element>
    let metrics: ControlMetrics

    func write(_ element: Element) async throws {
        try await self.base.write(element)
        guard let response = element as? Envoy_Service_Discovery_V3_DeltaDiscoveryResponse else { return }
        let count = response.resources.count + response.removedResources.count
        self.metrics.pushed(DiscoveryTypeName.of(response.typeURL), resources: count)
    }

    func write(contentsOf elements: some Sequence<Element>) async throws {
        for element in elements { try await self.write(element) }
    }
}
