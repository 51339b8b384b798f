// SPDX-License-Identifier: Apache-2.0

/// Why a field that exists elsewhere is refused here.
private let needsHTTP = "needs an HTTP-aware proxy, not available yet"

extension DestinationRuleResource {
    /// Reads the `spec` of a DestinationRule. Fields that nodes could not follow are refused: a rule never does less
    /// than it says.
    static func read(_ metadata: ResourceMetadata, _ object: ObjectReader) -> DestinationRuleResource? {
        let host = object.required("host")?.string { text in
            DestinationHost(text, namespace: metadata.namespace) == nil
                ? "'\(text.prefix(80))' does not name a service: use NAME, NAME.NAMESPACE, NAME.NAMESPACE.mesh.internal "
                    + "or NAME.NAMESPACE.svc.cluster.local, '*.NAMESPACE.mesh.internal' for all of a namespace or '*' "
                    + "for all"
                : nil
        }
        let policy = object.optional("trafficPolicy")?.object.map(TrafficPolicy.read)
        object.refuse("subsets", because: "subsets are not supported; declare a Service for each")
        object.refuse("workloadSelector", because: "a rule is for every client of the service; leave it out")
        if let field = object.optional("exportTo") {
            for entry in field.nonEmptyList ?? [] where entry.string.map({ $0 != "*" }) ?? false {
                entry.report("has to be \"*\": a rule is for every client of the service")
            }
        }
        object.finish()
        return host.map { DestinationRuleResource(metadata: metadata, spec: Spec(host: $0, trafficPolicy: policy)) }
    }
}

extension DestinationRuleResource.TrafficPolicy {
    fileprivate static func read(_ object: ObjectReader) -> Self {
        let result = Self(
            connectionPool: object.optional("connectionPool")?.object.map { object in
                let tcp = object.optional("tcp")?.object.map(DestinationRuleResource.TCP.read)
                object.refuse("http", because: needsHTTP)
                object.finish()
                return .init(tcp: tcp)
            },
            loadBalancer: object.optional("loadBalancer")?.object.map(DestinationRuleResource.LoadBalancer.read),
            outlierDetection: object.optional("outlierDetection")?.object.map(DestinationRuleResource.Outliers.read))
        if let tls = object.optional("tls")?.object {
            if let mode = tls.optional("mode"), let text = mode.string, text != "ISTIO_MUTUAL" {
                mode.report("only ISTIO_MUTUAL is supported: the mesh makes its tunnels itself")
            }
            tls.refuse(
                "clientCertificate", "privateKey", "caCertificates", "credentialName", "subjectAltNames", "sni",
                "insecureSkipVerify", "caCrl", because: "certificates are the mesh's own; leave it out")
            tls.finish()
        }
        object.refuse(
            "portLevelSettings", because: "settings are those of the whole service; declare a Service for the port")
        object.refuse("tunnel", "proxyProtocol", "retryBudget", because: "is not supported; leave it out")
        object.finish()
        return result
    }
}

extension DestinationRuleResource.TCP {
    fileprivate static func read(_ object: ObjectReader) -> Self {
        let result = Self(
            maxConnections: object.optional("maxConnections")?.limit,
            connectTimeout: object.optional("connectTimeout")?.duration)
        object.refuse(
            "tcpKeepalive", "maxConnectionDuration",
            because: "is not supported: a connection lives as long as its two ends want; leave it out")
        object.refuse("idleTimeout", because: "is not supported here; a node has the setting idleTimeout")
        object.finish()
        return result
    }
}

extension DestinationRuleResource.LoadBalancer {
    fileprivate static func read(_ object: ObjectReader) -> Self {
        var result = Self()
        if let field = object.optional("simple"), let text = field.string {
            result.simple = Simple(rawValue: text)
            if result.simple == nil {
                field.report(
                    "has to be LEAST_REQUEST, not \(text.prefix(32)): of two endpoints taken at random the one with "
                        + "less to do is chosen")
            }
        }
        result.localityLbSetting = object.optional("localityLbSetting")?.object.map(
            DestinationRuleResource.LocalitySetting.read)
        object.refuse("consistentHash", because: "is not supported: each connection is balanced on its own")
        object.refuse("warmup", "warmupDurationSecs", because: "is not supported; leave it out")
        object.finish()
        return result
    }
}

extension DestinationRuleResource.LocalitySetting {
    fileprivate static func read(_ object: ObjectReader) -> Self {
        var result = Self(enabled: object.optional("enabled")?.boolean)
        for field in object.optional("failoverPriority")?.nonEmptyList ?? [] {
            guard let label = field.string else { continue }
            if !Self.scopes.contains(where: { $0.key == label }) {
                field.report(
                    "has to be one of \(Self.scopes.map(\.key).joined(separator: ", ")), not \(label.prefix(80))")
            } else if result.failoverPriority.contains(label) {
                field.report("\(label) is named twice")
            }
            result.failoverPriority.append(label)
        }
        object.refuse(
            "distribute", "failover",
            because: "is not supported: the nearest endpoints are used, then the next nearest; use failoverPriority")
        object.finish()
        return result
    }
}

extension DestinationRuleResource.Outliers {
    fileprivate static func read(_ object: ObjectReader) -> Self {
        let result = Self(
            // 0: nothing is set aside.
            consecutiveLocalOriginFailures: object.optional("consecutiveLocalOriginFailures")?
                .integer(in: 0...Int(UInt32.max)).map { UInt32(truncatingIfNeeded: $0) },
            baseEjectionTime: object.optional("baseEjectionTime")?.duration,
            maxEjectionPercent: object.optional("maxEjectionPercent")?.integer(in: 1...100).map {
                UInt32(truncatingIfNeeded: $0)
            })
        if let field = object.optional("splitExternalLocalOriginErrors"), field.boolean == false {
            field.report("has to be true: only connections are looked at, never the answers of HTTP")
        }
        object.refuse(
            "consecutive5xxErrors", "consecutiveGatewayErrors", "consecutiveErrors",
            because: "counts answers of HTTP, which \(needsHTTP); use consecutiveLocalOriginFailures, which counts "
                + "connections that fail")
        object.refuse(
            "interval", because: "is not supported: an endpoint comes back when its time is over; leave it out")
        object.refuse(
            "minHealthPercent", because: "is not supported; maxEjectionPercent says how many may be set aside")
        object.finish()
        return result
    }
}
