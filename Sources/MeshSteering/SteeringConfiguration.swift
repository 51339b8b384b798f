// SPDX-License-Identifier: Apache-2.0

/// What one nodemeshd needs to steer the sockets of its workloads.
package struct SteeringConfiguration: Sendable {
    /// What happens to captured traffic while no proxy listens.
    package enum FailMode: String, Sendable, Hashable {
        /// Connects are refused.
        case closed
        /// Connects go where they would go without nodemesh.
        case open
    }

    /// Upper bounds of the kernel maps. They count when the maps are created; adopted maps keep theirs.
    package struct Capacities: Sendable, Hashable {
        /// Connections between connect and accept, in each of the two tables.
        package var flows: UInt32 = 65_536
        /// Mesh prefixes.
        package var prefixes: UInt32 = 4_096
        /// Enrolled workloads.
        package var workloads: UInt32 = 1_024
        /// Ports that workloads listen on in shared namespaces. Beyond them a port is reached by nobody.
        package var ports: UInt32 = 4_096
        /// Excluded prefixes of all workloads and of single ones together, and as many excluded ports.
        package var exclusions: UInt32 = 4_096
        /// Addresses of workloads with a namespace of their own.
        package var addresses: UInt32 = 8_192
        /// Open connections that reach their server without the proxy. Beyond them connections take the proxy.
        package var direct: UInt32 = 65_536
        /// Cached verdicts of the direct path.
        package var verdicts: UInt32 = 16_384
        /// Servers of the direct path whose connections are counted.
        package var loads: UInt32 = 8_192
        /// Bytes of the event ring, a power of two and at least 4096. Beyond them events are lost and counted.
        package var eventBytes: UInt32 = 1_048_576

        package init() {}
    }

    /// Separates the pins of several daemons on one kernel: letters, digits, `-` and `_`, at most 64.
    package var instance: String
    /// Mount point of the bpf file system.
    package var bpffs: String = "/sys/fs/bpf"
    package var capacities = Capacities()
    /// Directory of the cgroup that nodemeshd runs in; no workload may contain it.
    package var proxyCgroup: String
    /// Port of the outbound listener on 127.0.0.1 of each workload's namespace.
    package var outboundPort: UInt16 = 15001
    /// Port of the inbound listener in each workload's namespace.
    package var inboundPort: UInt16 = 15006
    /// First port at which names are answered on 127.0.0.1 and ::1 of each workload's namespace; see
    /// ``Steering/resolverPorts``.
    package var dnsPort: UInt16 = 15053
    package var failMode: FailMode = .closed

    package init(instance: String, proxyCgroup: String) {
        self.instance = instance
        self.proxyCgroup = proxyCgroup
    }
}
