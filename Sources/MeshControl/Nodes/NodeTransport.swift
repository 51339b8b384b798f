// SPDX-License-Identifier: Apache-2.0

import GRPCNIOTransportHTTP2Posix
import MeshModel
import NIOCore
import NIOSSL

/// The gRPC listener for nodes.
enum NodeTransport {
    /// The transport's own TLS demands a client certificate from everybody or asks nobody for one. Here a certificate is
    /// optional and verified when presented, so the transport is given none and this adds the handler that does it in
    /// front of HTTP/2, before the connection carries a byte. If that fails, so does the connection.
    static func make(
        address: MeshModel.SocketAddress, credentials: ServerCredentials, quota: ConnectionQuota
    ) throws -> HTTP2ServerTransport.Posix {
        var config = HTTP2ServerTransport.Posix.Config.defaults
        config.channelDebuggingCallbacks.onAcceptTCPConnection = { channel in
            channel.eventLoop.makeCompletedFuture {
                try quota.admit(channel)
                // Another one after the roots or the certificate have changed.
                try channel.pipeline.syncOperations.addHandler(
                    NIOSSLServerHandler(context: try credentials.nodeContext()), position: .first)
            }
        }
        // A node keeps one stream for discovery and calls now and then; a dead one must be noticed.
        config.connection.keepalive.time = .seconds(30)
        config.connection.keepalive.timeout = .seconds(20)
        config.connection.keepalive.clientBehavior.minPingIntervalWithoutCalls = .seconds(5)
        config.connection.keepalive.clientBehavior.allowWithoutCalls = true
        config.connection.maxIdleTime = .seconds(300)
        config.http2.maxConcurrentStreams = 100
        config.rpc.maxRequestPayloadSize = 16 << 20
        let host = address.ip.description
        return HTTP2ServerTransport.Posix(
            address: address.ip.isIPv4
                ? .ipv4(host: host, port: Int(address.port)) : .ipv6(host: host, port: Int(address.port)),
            transportSecurity: .plaintext, config: config)
    }
}
