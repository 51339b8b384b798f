// SPDX-License-Identifier: Apache-2.0

import MeshModel

extension ControlConfiguration {
    package typealias Table = ConfigurationTable<ControlConfiguration>
    private typealias Key = ConfigurationKey<ControlConfiguration>

    /// Every key of nodemesh-control's configuration.
    package static let table = Table(
        program: "nodemesh-control", file: "/etc/nodemesh/nodemesh-control.yaml",
        variablePrefix: "NODEMESH_CONTROL_",
        // Where nodemeshctl finds the control plane.
        otherVariables: ["NODEMESH_CONTROL_PLANE"], defaults: ControlConfiguration(),
        sections: [
            .init("Where it listens", Self.listeningKeys), .init("The mesh", Self.meshKeys),
            .init("State and log", Self.stateKeys),
        ]
    ) { configuration in
        let listeners = [configuration.grpcListen, configuration.apiListen, configuration.metricsListen]
        return Set(listeners.map(\.port)).count < listeners.count
            ? ["grpcListen, apiListen and metricsListen: must use three different ports"] : []
    }

    private static let listen = ValueKind<SocketAddress>.form("IP:PORT, such as 0.0.0.0:15012 or [::1]:15080")

    private static let listeningKeys: [Key] = [
        .single(
            "grpcListen", \.grpcListen, listen, .init(flag: "grpc-listen"),
            help: "For nodes; `[::]:15012` takes IPv4 and IPv6"),
        .single(
            "apiListen", \.apiListen, listen, .init(flag: "api-listen"),
            help: "For operators; with TLS when it is not loopback"),
        .single("metricsListen", \.metricsListen, listen, .init(flag: "metrics-listen"), help: "Prometheus metrics"),
        .list(
            "advertise", \.advertise, .form("HOST:PORT, such as control.example.org:15012"),
            .init(defaultText: "the host's name and the port of `grpcListen`", flag: "advertise"),
            help: "Where nodes dial, the best first"),
    ]

    private static let meshKeys: [Key] = [
        .list(
            "meshPrefixes", \.meshPrefixes,
            .form("a CIDR such as 10.0.0.0/8") {
                Self.isUsable($0)
                    ? nil : "would capture what is not the mesh's: loopback, multicast, or every address"
            }, .init(flag: "mesh-prefix"),
            help: "Inside these, captured connections must have a known destination; 240.240.0.0/16 and "
                + "fd6e:6d65:7368::/64 always are among them"),
        .single(
            "trustDomain", \.trustDomain,
            .text("a trust domain: lower-case letters, digits, '.', '-' and '_'") { SPIFFEID.isValidTrustDomain($0) },
            .init(flag: "trust-domain"), help: "Of every identity; fixed at the first start"),
        .single(
            "nodeTimeout", \.nodeTimeout, .number(3...3600, unit: "seconds"), .init(flag: "node-timeout", isLive: true),
            help: "Seconds without a sign of a node until its workloads count as unhealthy"),
        .single(
            "svidTtl", \.svidTTL, .number(10...2_592_000, unit: "seconds"), .init(flag: "svid-ttl", isLive: true),
            help: "Seconds a workload's certificate is valid; renewed at half of it. Those that are issued keep theirs"),
        .single(
            "nodeTtl", \.nodeTTL, .number(60...31_536_000, unit: "seconds"),
            help: "Seconds a node's own certificate is valid; renewed at half of it. A node that is away for longer has"
                + " to join again"),
        .single(
            "maxStaleness", \.maxStaleness, .number(0...31_536_000, unit: "seconds"),
            help: "Seconds: nodes whose view was not confirmed for longer refuse new connections; 0: never"),
    ]

    private static let stateKeys: [Key] = [
        .single(
            "dataDir", \.dataDirectory, .absolutePath, .init(flag: "data-dir"),
            help: "The store, the authority and the admin token"),
        .single(
            "logLevel", \.logLevel, .name, .init(flag: "log-level", isLive: true),
            help: "From which weight on lines are logged"),
    ]

    private static func isUsable(_ prefix: IPPrefix) -> Bool {
        let forbidden = ["127.0.0.1", "224.0.0.0", "::1", "ff02::1", "0.0.0.0", "::"].compactMap { IPAddress($0) }
        return !forbidden.contains { prefix.contains($0) || $0 == prefix.address }
    }
}
