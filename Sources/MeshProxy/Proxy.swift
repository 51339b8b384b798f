// SPDX-License-Identifier: Apache-2.0
import Logging
import MeshLinux
import MeshModel

/// The data plane of one node: event loops that carry captured connections to local workloads, through tunnels to
/// other nodes, and out of tunnels to local workloads.
package final class Proxy: Sendable {
    /// Where peers dial; the port is the real one when the configured one was 0. nil before ``start()``.
    package var tunnelEndpoint: SocketAddress? { nil }

    package init(configuration: ProxyConfiguration, hooks: ProxyHooks, logger: Logger) {}

    /// Opens the tunnel listener and starts the loops. They know nothing until ``update(_:)``.
    package func start() throws(ProxyError) {}

    /// Closes every connection with reason `shutdown` and ends the loops. Blocks until they have ended.
    package func stop() {}

    /// Opens a workload's capture listeners inside its namespace and begins to accept. Blocks for some milliseconds.
    ///
    /// - Parameters:
    ///   - key: the number under which eBPF knows the workload; unique among attached ones.
    ///   - namespace: nil means the process's own.
    /// - Returns: where connections are accepted, with the inbound sockets' descriptors, one per loop, for the eBPF
    ///   side. They stay the proxy's and live until ``detach(_:)``.
    @discardableResult
    package func attach(
        _ workload: WorkloadID, key: UInt32, namespace: NetworkNamespace?
    ) throws(ProxyError) -> WorkloadListeners {
        throw ProxyError("not yet built")
    }

    /// Closes a workload's listeners, and its connections with reason `workload_gone`.
    package func detach(_ workload: WorkloadID) {}

    /// Replaces what the loops decide by, and closes connections that are now denied.
    package func update(_ view: ProxyView) {}

    /// The live connections with their present byte counts.
    package func connections() async -> [ConnectionRecord] { [] }

    /// Stops accepting and waits until all connections have ended, at most `deadline`; what is left then is closed by
    /// ``stop()``.
    package func drain(deadline: Duration) async {}

    /// Counters since start.
    package func statistics() async -> ProxyStatistics { ProxyStatistics() }
}
