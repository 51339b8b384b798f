// SPDX-License-Identifier: Apache-2.0

import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Logging
import MeshDiscovery
import ServiceLifecycle

/// The gRPC server for nodes under the process's life cycle.
struct NodeServer: Service {
    let server: GRPCServer<HTTP2ServerTransport.Posix>
    let transport: HTTP2ServerTransport.Posix
    let discovery: DiscoveryServer
    let address: String
    let logger: Logger

    func run() async throws {
        do {
            try await withGracefulShutdownHandler {
                async let served: Void = self.server.serve()
                // Answers once the address is bound, or throws when it never will be.
                if (try? await self.transport.listeningAddress) != nil {
                    self.logger.info("listening for nodes", metadata: ["address": "\(self.address)"])
                }
                try await served
            } onGracefulShutdown: {
                // Streams never end by themselves.
                self.discovery.shutDown()
                self.server.beginGracefulShutdown()
            }
        } catch let error as RuntimeError {
            throw ControlError(
                "cannot listen for nodes on \(self.address): \(error.cause.map { "\($0)" } ?? error.message): "
                    + "check --grpc-listen and what else uses the port")
        }
    }
}
