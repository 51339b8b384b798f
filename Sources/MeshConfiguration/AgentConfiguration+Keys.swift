// SPDX-License-Identifier: Apache-2.0

import MeshModel

extension AgentConfiguration {
    package typealias Table = ConfigurationTable<AgentConfiguration>
    private typealias Key = ConfigurationKey<AgentConfiguration>

    /// Every key of nodemeshd's configuration.
    package static let table = Table(
        program: "nodemeshd", file: "/etc/nodemesh/nodemeshd.yaml", variablePrefix: "NODEMESHD_",
        defaults: AgentConfiguration(node: "localhost"),
        sections: [
            .init("The node in its mesh", Self.meshKeys), .init("Where things are", Self.placeKeys),
            .init("What is captured", Self.captureKeys), .init("Names", Self.namesKeys),
            .init("The data plane", Self.dataPlaneKeys),
            .init("Between workloads of this node", Self.directKeys), .init("What it tells", Self.tellingKeys),
            .init("Traces", Self.tracingKeys),
        ]
    ) { configuration in
        var problems: [String] = []
        if configuration.controlPlane == nil {
            problems.append("controlPlane: missing; give --control-plane HOST:PORT or set it in the file")
        }
        if configuration.metricsListen.port == configuration.readinessListen.port {
            problems.append("metricsListen and readinessListen: must use different ports")
        }
        if (configuration.otlpCertFile == nil) != (configuration.otlpKeyFile == nil) {
            problems.append("otlpCertFile and otlpKeyFile: one needs the other")
        }
        return problems
    }

    private static let hostPort = ValueKind<HostPort>.form("HOST:PORT")

    private static let meshKeys: [Key] = [
        .single(
            "node", \.node,
            .text("a node name: letters, digits, '.', '-' and '_' only") { SPIFFEID.isValidSegment($0) },
            .init(defaultText: "the host's name", flag: "node"), help: "The node's name in the mesh"),
        .optional(
            "controlPlane", \.controlPlane, hostPort, .init(defaultText: "none, must be set", flag: "control-plane"),
            help: "Where `nodemesh-control` listens for nodes"),
        .optional(
            "caFingerprint", \.caFingerprint,
            .init("sha256:<64 hex digits>; the control plane prints it with a join token") { text in
                let hex = text.dropFirst("sha256:".count)
                return text.hasPrefix("sha256:") && hex.count == 64 && hex.allSatisfy(\.isHexDigit)
                    ? text.lowercased() : nil
            }, .init(flag: "ca-fingerprint"), help: "Of the control plane's root certificate; needed to join"),
        .optional(
            "joinToken", \.joinToken,
            .text("a join token (nmjt.<id>.<secret>); create one with 'nodemeshctl join-token create'") {
                $0.hasPrefix("nmjt.")
            }, .init(flag: "join-token", isSecret: true),
            help: "Works once; needed to join. `--join-token-file` reads it from a file"),
        .list(
            "nodeAddresses", \.nodeAddresses,
            .form("an IP address") { $0.isUnspecified ? "is not an IP address" : nil },
            .init(defaultText: "the address that routes to the control plane", flag: "node-address"),
            help: "Where peers reach this node's tunnels"),
        .single(
            "locality", \.locality,
            .init(
                "REGION, REGION/ZONE or REGION/ZONE/SUBZONE, such as eu-1/eu-1a/rack-3",
                parse: { Locality($0).flatMap { $0.isKnown ? $0 : nil } }, text: { $0.description }),
            .init(defaultText: "not known", flag: "locality"),
            help: "Where the node is, and so its workloads; what services prefer endpoints by"),
    ]

    private static let placeKeys: [Key] = [
        .single(
            "dataDir", \.dataDirectory, .absolutePath, .init(flag: "data-dir"),
            help: "Keys, certificates and enrolments"),
        .single("runDir", \.runDirectory, .absolutePath, .init(flag: "run-dir"), help: "The admin socket"),
        .single(
            "instance", \.instance,
            .text("an instance name: up to 32 letters, digits, '.', '-' and '_'") {
                (1...32).contains($0.utf8.count) && $0 != "." && $0 != ".." && SPIFFEID.isValidSegment($0)
            }, .init(flag: "instance"), help: "Separates the kernel state of several daemons on one host"),
        .single("workloadsDirectory", \.workloadsDirectory, .absolutePath, .live, help: "Enrolment files"),
        .single(
            "metricsListen", \.metricsListen, hostPort, help: "Prometheus metrics"),
        .single("readinessListen", \.readinessListen, hostPort, help: "Readiness"),
    ]

    private static let captureKeys: [Key] = [
        .single(
            "failMode", \.failMode, .name, .live,
            help:
                "What happens to captured traffic while nodemeshd is down: `closed`, it is refused; `open`, it goes in "
                + "clear text. A workload's own comes first"),
        .list(
            "excludePorts", \.excludePorts, .port, .live,
            help: "Destination ports that are never captured, for any workload"),
        .list(
            "excludePrefixes", \.excludePrefixes, .form("a CIDR block, such as 10.1.0.0/16 or fd00::/8"), .live,
            help: "Destinations that are never captured, for any workload"),
        .list(
            "excludeInboundPorts", \.excludeInboundPorts, .port, .live,
            help: "Ports of workloads whose connections are left alone"),
        .optionalList(
            "probeCgroups", \.probeCgroups,
            .text("a cgroup's path, such as /system.slice/kubelet.service") {
                !$0.isEmpty && !$0.split(separator: "/").contains("..")
            }, .init(defaultText: "the kubelet's, where there is one", isLive: true),
            help: "Cgroups of the host whose connections to local workloads are health probes, and pass"),
        .single(
            "unknownDestination", \.unknownDestination, .name, .init(flag: "unknown-destination", isLive: true),
            help: "What happens to a captured connection whose destination nothing declares"),
        .map(
            "mapSizes", \.mapSizes, MapSizes.kind, .init(defaultText: "see `nodemeshctl bpf status`"),
            help:
                "Entries of kernel maps. For maps made anew: after `nodemeshd cleanup`, or an upgrade that rebuilds them"
        ),
        .single(
            "canaryInterval", \.canaryInterval, .number(0...86_400, unit: "seconds"), .live,
            help: "Seconds between tries of the canary; 0: none"),
        .single(
            "maxStaleness", \.maxStaleness, .number(0...31_536_000, unit: "seconds"), .live,
            help: "Seconds: while the control plane has not confirmed the view for longer, new connections are refused;"
                + " 0: never"),
    ]

    private static let domain = ValueKind<String>(
        "a domain name of letters, digits and dashes, such as mesh.internal",
        parse: { text in
            let labels = text.lowercased().split(separator: ".", omittingEmptySubsequences: false)
            let isValid = labels.allSatisfy { label in
                (1...63).contains(label.utf8.count) && label.first != "-" && label.last != "-"
                    && label.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 45 }
            }
            return isValid && text.utf8.count <= 200 ? text.lowercased() : nil
        })

    private static let namesKeys: [Key] = [
        .single(
            "dns", \.dns, .name,
            help: "Names that workloads ask for are answered here, see [DNS](../README.md#dns); `off`, they are not"),
        .single(
            "dnsDomain", \.dnsDomain, Self.domain,
            help: "Services are `NAME.NAMESPACE.` this, and nothing else is below it"),
        .list(
            "dnsAliases", \.dnsAliases, Self.domain,
            help: "Services are `NAME.NAMESPACE.` these too; what else is below them is asked of resolvers"),
        .list(
            "dnsUpstreams", \.dnsUpstreams,
            .form("an IP address, or one with a port, such as 192.0.2.53:5353") {
                $0.isOwn ? "is where nodemeshd itself answers: name a resolver that it can ask" : nil
            }, .init(defaultText: "those of the node's /etc/resolv.conf"),
            help: "The node's resolvers, which are asked where a workload's own does not answer"),
        .single(
            "dnsCacheSize", \.dnsCacheSize, .number(0...1_000_000),
            help: "Answers of resolvers that are remembered, of 1 KiB on average; 0: none"),
        .single(
            "dnsTTL", \.dnsTTL, .number(0...3600, unit: "seconds"),
            help: "Seconds that applications may remember the mesh's own names, and that there is no such name"),
        .single(
            "dnsStale", \.dnsStale, .number(0...604_800, unit: "seconds"),
            help: "Seconds that a remembered answer serves beyond its time while no resolver answers; 0: none"),
    ]

    private static let dataPlaneKeys: [Key] = [
        .single(
            "loops", \.loops, .number(0...64), .init(defaultText: "0: one per processor, at most four", flag: "loops"),
            help: "Event loops"),
        .single(
            "handshakeThreads", \.handshakeThreads, .number(0...64),
            .init(defaultText: "0: one per four processors, at least one"),
            help: "Threads for the arithmetic of TLS handshakes"),
        .single(
            "engine", \.engine, .name, .init(flag: "engine"),
            help: "What seals and opens the records of tunnels; `automatic` is the one that is faster here"),
        .single(
            "aead", \.aead, .name,
            help: "The library for tunnels' records; `automatic` is the fastest that passes its test at start"),
        .single(
            "tunnelReuse", \.tunnelReuse, .flag, .live,
            help: "A tunnel carries one connection after the other between the same two workloads"),
        .single(
            "tunnelAhead", \.tunnelAhead, .flag, .live,
            help: "Where connections come often, a tunnel is made in advance"),
        .single(
            "tunnelIdleTimeout", \.tunnelIdleTimeout, .number(1...3600, unit: "seconds"), .live,
            help: "Seconds a tunnel waits for its next connection"),
        .single(
            "maxConnections", \.maxConnections, .number(0...10_000_000),
            .init(defaultText: "0: from the descriptor limit", isLive: true), help: "Connections at one time"),
        .single(
            "connectTimeout", \.connectTimeout, .number(1...3600, unit: "seconds"), .live,
            help: "Seconds a connection may take to be made"),
        .single(
            "halfCloseTimeout", \.halfCloseTimeout, .number(1...1_000_000, unit: "seconds"), .live,
            help: "Seconds a connection may stay half closed without a byte moving"),
        .single(
            "idleTimeout", \.idleTimeout, .number(0...10_000_000, unit: "seconds"), .live,
            help: "Seconds a connection may be idle; 0: for ever"),
        .single(
            "handOver", \.handOver, .name,
            help: "A stopped daemon leaves its connections to the next one, if its service manager keeps descriptors"),
    ]

    private static let directKeys: [Key] = [
        .single(
            "directPath", \.directPath, .name,
            help: "Connections between workloads of this node may pass the proxy by once it has decided about them"),
        .single(
            "redirectPeer", \.redirectPeer, .flag,
            help: "Packets of such connections skip the host's side of veth pairs"),
        .single(
            "sockmapCap", \.sockmapCap, .number((1 << 20)...(1 << 30), unit: "bytes"),
            help: "Bytes that may wait unread in each direction of an accelerated connection; beyond them it ends"),
    ]

    private static let tellingKeys: [Key] = [
        .single(
            "logLevel", \.logLevel, .name, .init(flag: "log-level", isLive: true),
            help: "From which weight on lines are logged"),
        .optional(
            "accessLog", \.accessLog,
            .text("an absolute path, '-' for standard output, 'journal' or 'unix:/path'") {
                AccessLogSettings.Target($0) != nil
            }, .init(defaultText: "none", flag: "access-log", isLive: true),
            help: "Where lines of JSON about connections go: a file, the system's journal or a Unix socket"),
        .list(
            "accessLogEvents", \.accessLogEvents, .name, .live,
            help: "For what a connection gets a line: `open`, `periodic` while it stays open, `close`"),
        .single(
            "accessLogInterval", \.accessLogInterval, .number(1...86_400, unit: "seconds"), .live,
            help: "Seconds between the periodic lines of a connection"),
        .single(
            "accessLogFilter", \.accessLogFilter, .name, .live,
            help: "`errors`: only connections that did not end in order"),
        .single(
            "accessLogSampling", \.accessLogSampling, .share, .live,
            help: "The share of connections that are logged; those that did not end in order always are"),
        .single(
            "accessLogRate", \.accessLogRate, .number(0...10_000_000, unit: "lines"), .live,
            help: "Lines a second at most; what is dropped is counted, and the log says so. 0: all"),
        .single(
            "accessLogMaxSize", \.accessLogMaxSize,
            .init("0 or a whole number of bytes from 65536 to 1099511627776") {
                Int($0).flatMap { $0 == 0 || (65_536...(1 << 40)).contains($0) ? $0 : nil }
            }, .live, help: "Bytes from which on the file is put away as `NAME.1`; 0: never, SIGUSR1 has it opened anew"
        ),
        .single(
            "accessLogKeep", \.accessLogKeep, .number(0...1000), .live, help: "Files put away that are kept"),
        .single(
            "metricsMaxSeries", \.metricsMaxSeries, .number(100...1_000_000),
            help: "Series of each metric; what does not fit is added up in one labelled `other`"),
        .single(
            "clusterName", \.clusterName,
            .text("a name: letters, digits, '.', '-' and '_' only") { SPIFFEID.isValidSegment($0) },
            help: "The labels `source_cluster` and `destination_cluster` of Istio's metrics"),
    ]

    private static let pem = ValueKind<String>.absolutePath

    private static let tracingKeys: [Key] = [
        .optional(
            "otlpEndpoint", \.otlpEndpoint, .form("http://HOST:PORT or https://HOST:PORT, maybe with a path"),
            .init(defaultText: "none: no traces"),
            help: "A collector that takes OTLP over HTTP; each connection becomes a span on both of its nodes"),
        .single(
            "otlpSampling", \.otlpSampling, .share,
            help: "The share of connections that are traced; the node of the client chooses"),
        .list(
            "otlpHeaders", \.otlpHeaders, .form("NAME=VALUE"), .init(isSecret: true),
            help: "Headers for the collector, such as `authorization=Bearer …`"),
        .optional("otlpCaFile", \.otlpCaFile, pem, .init(defaultText: "the system's"), help: "Whom to trust: PEM"),
        .optional("otlpCertFile", \.otlpCertFile, pem, help: "A certificate to show to the collector: PEM"),
        .optional("otlpKeyFile", \.otlpKeyFile, pem, help: "Its key: PEM"),
    ]
}
