// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// Everything an operator can set on a node, decoded once and valid as a whole.
package struct AgentConfiguration: Sendable, Equatable {
    /// The node's name in the mesh; the host name unless set.
    package var node: String
    /// `host:port` of the control plane's gRPC listener.
    package var controlPlane: HostPort?
    /// `sha256:<hex>` of the control plane's root certificate, needed to join.
    package var caFingerprint: String?
    /// The single-use token, needed to join.
    package var joinToken: String?
    package var dataDirectory: String = "/var/lib/nodemesh"
    package var runDirectory: String = "/run/nodemesh"
    /// Separates the kernel state of several daemons on one host.
    package var instance: String = "default"
    /// On which peers reach this node's tunnels; empty: the address that routes to the control plane.
    package var nodeAddresses: [IPAddress] = []
    /// Where the node is, and so its workloads; what services prefer endpoints by.
    package var locality: Locality = .init()
    /// Event loops; 0: one per processor, at most four.
    package var loops: Int = 0
    /// Threads for the arithmetic of TLS handshakes; 0: one per four processors, at least one.
    package var handshakeThreads: Int = 0
    /// Which library seals and opens tunnels' records.
    package var aead: AEAD = .automatic
    /// A tunnel carries one connection after the other between the same two workloads.
    package var tunnelReuse: Bool = true
    /// A tunnel is made in advance where connections come often.
    package var tunnelAhead: Bool = true
    /// Seconds a tunnel waits for its next connection.
    package var tunnelIdleTimeout: Int = 60
    /// What seals and opens the records of tunnels.
    package var engine: Engine = .automatic
    package var unknownDestination: UnknownDestination = .refuse
    /// What happens to captured traffic while no proxy listens; a workload's own comes first.
    package var failMode: FailMode = .closed
    /// Destination ports and prefixes that are never captured, for any workload.
    package var excludePorts: [UInt16] = []
    package var excludePrefixes: [IPPrefix] = []
    /// Ports of workloads whose inbound connections are left alone.
    package var excludeInboundPorts: [UInt16] = []
    /// Cgroups whose connections to local workloads are health probes; nil: those of the kubelet, where they exist.
    package var probeCgroups: [String]?
    /// Where enrolment files are.
    package var workloadsDirectory: String = "/etc/nodemesh/workloads.d"
    /// Connections between workloads of this node may go without the proxy once it has decided about them.
    package var directPath: DirectPath = .automatic
    /// Packets between such workloads may skip the host's side of their veth pairs.
    package var redirectPeer: Bool = false
    /// Bytes that may wait unread in each direction of an accelerated connection; beyond them it ends.
    package var sockmapCap: Int = 4 << 20
    /// Entries of kernel maps by name, see ``MapSizes``.
    package var mapSizes: [String: UInt32] = [:]
    /// Seconds between tries of the canary; 0: none is made.
    package var canaryInterval: Int = 60
    /// Seconds: while the control plane has not confirmed the view for longer, new connections are refused; 0: never.
    package var maxStaleness: Int = 0
    /// Whether names are answered for workloads.
    package var dns: DNS = .on
    /// Below it names belong to the mesh alone.
    package var dnsDomain: String = "mesh.internal"
    /// Other domains by which services of the mesh are known.
    package var dnsAliases: [String] = ["svc.cluster.local"]
    /// The node's resolvers; empty: those of its /etc/resolv.conf.
    package var dnsUpstreams: [DNSUpstream] = []
    /// Answers that are remembered.
    package var dnsCacheSize: Int = 10_000
    /// Seconds that the mesh's own names may be remembered.
    package var dnsTTL: Int = 5
    /// Seconds that an answer serves beyond its time while no resolver answers.
    package var dnsStale: Int = 3600
    /// `accessLog`: an absolute path, `-` for standard output, `journal`, `unix:/path` of a socket; nil for none.
    package var accessLog: String?
    /// `accessLogEvents`: for what a connection gets a line.
    package var accessLogEvents: [AccessLogSettings.Event] = [.close]
    /// `accessLogInterval`: seconds between the periodic lines of a connection.
    package var accessLogInterval: Int = 600
    /// `accessLogMaxSize`: bytes from which on the file is put away; 0: never.
    package var accessLogMaxSize: Int = 0
    /// `accessLogKeep`: files put away that are kept.
    package var accessLogKeep: Int = 5
    /// `accessLogRate`: lines a second at most; 0: all.
    package var accessLogRate: Int = 0
    /// `accessLogFilter`: which connections are logged.
    package var accessLogFilter: AccessLogSettings.Filter = .all
    /// `accessLogSampling`: the share of connections that are logged, 0 to 1; those that failed always are.
    package var accessLogSampling: Double = 1
    /// `metricsMaxSeries`: series of each metric; what does not fit is added up in one labelled `other`.
    package var metricsMaxSeries: Int = 2_000
    /// `otlpEndpoint`: where traces of connections go; nil: none are made.
    package var otlpEndpoint: TraceSettings.Endpoint?
    /// `otlpSampling`: the share of connections that are traced, 0 to 1.
    package var otlpSampling: Double = 0.1
    /// `otlpHeaders`: sent along, as `NAME=VALUE`.
    package var otlpHeaders: [TraceSettings.Header] = []
    /// `otlpCaFile`, `otlpCertFile`, `otlpKeyFile`: PEM files for a collector that is reached by TLS.
    package var otlpCaFile: String?
    package var otlpCertFile: String?
    package var otlpKeyFile: String?
    /// `clusterName`: the value of `source_cluster` and `destination_cluster` in Istio's metrics.
    package var clusterName: String = "Kubernetes"
    package var logLevel: LogLevel = .info
    /// 0: derived from the descriptor limit.
    package var maxConnections: Int = 0
    /// Seconds.
    package var connectTimeout: Int = 10
    /// Seconds a connection may stay half closed without a byte moving.
    package var halfCloseTimeout: Int = 3600
    /// Seconds a connection may be idle; 0: for ever.
    package var idleTimeout: Int = 0
    /// A stopped daemon leaves its connections to the service manager for the next one, if that keeps descriptors
    /// (`handOver`).
    package var handOver: HandOver = .automatic
    package var metricsListen: HostPort = HostPort(host: "0.0.0.0", port: 15020)
    package var readinessListen: HostPort = HostPort(host: "0.0.0.0", port: 15021)

    package init(node: String) {
        self.node = node
    }

    /// What happens to a captured connection whose destination nothing declares.
    package enum UnknownDestination: String, Sendable, CaseIterable { case refuse, passthrough }

    package enum FailMode: String, Sendable, CaseIterable { case closed, open }

    package enum DNS: String, Sendable, CaseIterable { case on, off }

    package enum DirectPath: String, Sendable, CaseIterable { case automatic, off }

    package enum AEAD: String, Sendable, CaseIterable { case automatic, openssl, ipsecmb }

    /// As ``ProxyConfiguration/Engine``.
    package enum Engine: String, Sendable, CaseIterable { case automatic, user, kernel }

    package enum HandOver: String, Sendable, CaseIterable { case automatic, off }

    /// Key and effective value, secrets left out.
    package var description: [String: String] { Self.table.description(of: self) }

    /// nil: no traces are made.
    package var traceSettings: TraceSettings? {
        self.otlpEndpoint.map {
            TraceSettings(
                endpoint: $0, sampling: self.otlpSampling, headers: self.otlpHeaders,
                authoritiesFile: self.otlpCaFile, certificateFile: self.otlpCertFile, keyFile: self.otlpKeyFile)
        }
    }

    /// nil: there is no access log.
    package var accessLogSettings: AccessLogSettings? {
        guard let target = self.accessLog.flatMap(AccessLogSettings.Target.init) else { return nil }
        var settings = AccessLogSettings(target: target)
        settings.events = Set(self.accessLogEvents)
        settings.interval = self.accessLogInterval
        settings.maxSize = self.accessLogMaxSize
        settings.keep = self.accessLogKeep
        settings.linesPerSecond = self.accessLogRate
        settings.filter = self.accessLogFilter
        settings.sampling = self.accessLogSampling
        return settings
    }

    /// The admin API's Unix socket.
    package var socketPath: String { "\(self.runDirectory)/nodemeshd.sock" }

    /// Where another nodemeshd asks to take over.
    package var handOverPath: String { "\(self.runDirectory)/handover.sock" }
}
