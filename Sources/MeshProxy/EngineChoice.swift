// SPDX-License-Identifier: Apache-2.0
import MeshModel
import MeshTunnel

/// Which engine this node's tunnels get, decided once at start.
struct EngineChoice: Sendable, Equatable {
    let engine: TunnelEngine
    let why: String

    static func make(_ wanted: ProxyConfiguration.Engine, aead: AEADProvider) throws(ProxyError) -> EngineChoice {
        if wanted == .user { return EngineChoice(engine: .user, why: "configured") }
        return try Self.choose(wanted, KernelProbe.run(aead: wanted == .automatic ? aead : nil))
    }

    /// The kernel has to need a third less CPU: it can neither change keys nor carry one connection after another in the
    /// same tunnel, which short connections pay for.
    static func choose(_ wanted: ProxyConfiguration.Engine, _ probe: KernelProbe) throws(ProxyError) -> EngineChoice {
        let failures = CipherSuite.allCases.compactMap { suite in probe.failures[suite].map { "\(suite): \($0)" } }
        if let first = failures.first {
            if wanted == .kernel {
                throw ProxyError(
                    "engine kernel: kernel TLS does not work here: \(first); load the module 'tls', or set engine: user"
                )
            }
            return EngineChoice(engine: .user, why: "kernel TLS does not work here: \(first)")
        }
        if wanted == .kernel { return EngineChoice(engine: .kernel, why: "configured") }
        guard let kernel = probe.kernelTime, let user = probe.userTime else {
            return EngineChoice(engine: .user, why: "the engines could not be timed")
        }
        let times = "CPU per MiB: kernel \(kernel / 1000) us, user \(user / 1000) us"
        return EngineChoice(engine: kernel * 3 <= user * 2 ? .kernel : .user, why: times)
    }

    /// This node's keys may be the kernel's, which cannot change them.
    var hasFixedKeys: Bool { self.engine == .kernel }

    /// Whether a tunnel can carry one connection after the other: the kernel hides the empty record that ends one.
    var allowsReuse: Bool { self.engine == .user }
}
