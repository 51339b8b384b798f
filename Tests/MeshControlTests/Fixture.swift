// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshConfiguration
import MeshIdentity
import MeshModel
import MeshStore
import MeshTelemetry
import Testing

@testable import MeshControl

/// A control plane in a directory of its own that goes when the test does. Nothing listens unless it is run.
struct Fixture {
    let directory: TemporaryDirectory
    let plane: ControlPlane

    init(_ directory: TemporaryDirectory? = nil, change: (inout ControlConfiguration) -> Void = { _ in }) async throws {
        self.directory = try directory ?? TemporaryDirectory()
        var configuration = ControlConfiguration()
        configuration.dataDirectory = self.directory.path
        configuration.grpcListen = SocketAddress(ip: IPAddress(ipv4: 0x7f00_0001), port: 0)
        configuration.apiListen = configuration.grpcListen
        configuration.metricsListen = configuration.grpcListen
        configuration.advertise = [HostPort(host: "control.test", port: 15012)]
        change(&configuration)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        self.plane = try await ControlPlane(
            LiveConfiguration(ControlConfiguration.table, fixed: configuration), logs: LogLevels(.critical),
            logger: logger)
    }
}

final class TemporaryDirectory: Sendable {
    let path: String
    init() throws {
        self.path = NSTemporaryDirectory() + "nodemesh-control-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: self.path, withIntermediateDirectories: true)
    }
    deinit { try? FileManager.default.removeItem(atPath: self.path) }
}

extension String {
    static func service(_ name: String, clusterIP: String? = nil, port: Int = 80) -> String {
        """
        apiVersion: v1
        kind: Service
        metadata: {name: \(name), namespace: shop}
        spec:
          selector: {app: \(name)}
        \(clusterIP.map { "  clusterIP: \($0)" } ?? "")
          ports: [{port: \(port), targetPort: 8080}]
        """
    }
}
