// SPDX-License-Identifier: Apache-2.0

import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Logging
import MeshDiscovery
import ServiceLifecycle

/// The gRPC server for nodes under the process's life cycle.
struct NodeServer: Service {
    let server: GRPCServer<HTTP2ServerTransport.Posix>
    let discovery: DiscoveryServer
    let address: String
    let logger: Logger

    func run() async throws {
        self.logger.info("listening for nodes", metadata: ["address": "\(self.address)"])
        do {
            try await withGracefulShutdownHandler {
                try await self.server.serve()
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
