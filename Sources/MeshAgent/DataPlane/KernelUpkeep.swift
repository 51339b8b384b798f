// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshConfiguration
import MeshLinux
import MeshSteering
import MeshTelemetry
import Synchronization

/// Keeps the node's rules in the kernel as the configuration says: fail mode, exclusions, and who probes. Reads how
/// full the maps are for the metrics.
final class KernelUpkeep: Sendable {
    /// Where the kubelet, or what contains it, runs in usual installations, below the cgroup mount.
    static let kubeletCgroups = [
        "/system.slice/kubelet.service", "/kubelet.slice/kubelet.service", "/kube.slice/kubelet.service",
        "/runtime.slice/kubelet.service", "/podruntime.slice/kubelet.service", "/kubelet",
    ]

    private struct State {
        var configuration: AgentConfiguration
        /// What was last given to the kernel.
        var probes: [UInt64] = []
        var maps: [MapStatus] = []
    }

    private let steering: Steering
    private let logger: Logger
    private let state: Mutex<State>

    init(_ configuration: AgentConfiguration, steering: Steering, logger: Logger) {
        self.steering = steering
        self.logger = logger
        self.state = Mutex(State(configuration: configuration))
    }

    /// Makes all of the rules so; an error of one does not stop the others.
    func apply(_ configuration: AgentConfiguration) {
        self.state.withLock { $0.configuration = configuration }
        self.attempt("the fail mode cannot be set") { () throws(SteeringError) in
            try self.steering.setFailMode(configuration.failMode == .open ? .open : .closed)
        }
        self.attempt("the exclusions cannot be set") { () throws(SteeringError) in
            try self.steering.setExclusions(
                prefixes: configuration.excludePrefixes, outboundPorts: configuration.excludePorts,
                inboundPorts: configuration.excludeInboundPorts)
        }
        self.followProbes(isFirst: true)
    }

    private func attempt(_ what: Logger.Message, _ body: () throws(SteeringError) -> Void) {
        do throws(SteeringError) {
            try body()
        } catch {
            self.logger.error(what, metadata: ["reason": "\(error)"])
        }
    }

    /// A cgroup that was made anew is another one: call it now and then.
    func followProbes(isFirst: Bool = false) {
        let configuration = self.state.withLock { $0.configuration }
        guard let mount = try? Cgroup.mountPoint() else { return }
        let paths = (configuration.probeCgroups ?? Self.kubeletCgroups).map { path in
            path.hasPrefix(mount + "/") ? path : mount + (path.hasPrefix("/") ? path : "/" + path)
        }
        let found = paths.compactMap { try? Cgroup(path: $0) }
        let isChanged = self.state.withLock { state in
            defer { state.probes = found.map(\.id) }
            return state.probes != found.map(\.id)
        }
        guard isChanged || isFirst else { return }
        self.attempt("connections of health probes may be steered") { () throws(SteeringError) in
            try self.steering.setProbeCgroups(found.map(\.path))
        }
        if isChanged {
            self.logger.info(
                "connections from these cgroups to workloads of this node count as health probes",
                metadata: ["cgroups": "\(found.map(\.path).joined(separator: ", "))"])
        }
        let missing = Set(paths).subtracting(found.map(\.path)).sorted()
        if isFirst, configuration.probeCgroups != nil, !missing.isEmpty {
            self.logger.warning("no such cgroups for health probes yet", metadata: ["cgroups": "\(missing)"])
        }
    }

    /// Counts the maps' entries; not for every scrape.
    func measureMaps() {
        let maps = self.steering.mapStatus()
        self.state.withLock { $0.maps = maps }
    }

    func watch(_ registry: MetricsRegistry) {
        registry.collect(
            "nodemesh_bpf_map_entries", .gauge,
            help: "Entries of the kernel maps, at most ten seconds old; not for those that the kernel does not count.",
            labels: ["map"]
        ) {
            self.state.withLock { $0.maps }.compactMap { map in map.entries.map { ([map.name], Double($0)) } }
        }
        registry.collect(
            "nodemesh_bpf_map_capacity", .gauge, help: "How many entries the kernel maps have room for.",
            labels: ["map"]
        ) {
            self.state.withLock { $0.maps }.filter { $0.capacity > 0 }.map { ([$0.name], Double($0.capacity)) }
        }
    }
}
