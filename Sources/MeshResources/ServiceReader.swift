// SPDX-License-Identifier: Apache-2.0

internal import MeshModel

extension ServiceResource {
    /// Reads the `spec` of a Service. Fields of Kubernetes that would change how connections travel are refused with
    /// the reason; those that say what holds anyway are taken and forgotten.
    static func read(_ metadata: ResourceMetadata, _ spec: ObjectReader) -> ServiceResource? {
        Self.refuseUnsupported(spec)
        let selectorField = spec.required("selector")
        let selector = selectorField?.map(NameRules.labelKey, NameRules.labelValue) ?? [:]
        if let selectorField, selector.isEmpty { selectorField.report("has to name at least one label") }

        let isHeadless = Self.isHeadless(spec)
        let ports = (spec.optional("ports")?.list ?? []).compactMap { field in
            field.object.flatMap(Port.read).map { (field: field, port: $0) }
        }
        Self.checkPorts(ports, spec, isRequired: !isHeadless)

        let clusterIP = spec.optional("clusterIP")?.string(Self.checkAddress(orNone: true))
        var clusterIPs: [String] = []
        for field in spec.optional("clusterIPs")?.nonEmptyList ?? [] {
            guard let text = field.string(Self.checkAddress(orNone: true)) else { continue }
            if clusterIPs.contains(text) { field.report("\(text) is named twice") }
            clusterIPs.append(text)
        }
        if let first = clusterIPs.first {
            if let clusterIP, clusterIP != first {
                spec.report("clusterIPs", "the first one has to be spec.clusterIP, \(clusterIP)")
            }
            if clusterIPs.count > 1, clusterIPs.contains("None") {
                spec.report("clusterIPs", "None stands alone")
            }
        }
        let policy = Self.readFamilyPolicy(spec)
        let families = Self.readFamilies(spec)
        let addresses = clusterIPs.isEmpty ? [clusterIP].compactMap { $0 } : clusterIPs
        let named = addresses.compactMap { IPAddress($0)?.family }
        Self.checkFamilies(families, policy, named: named, spec)
        let isLocal = Self.readIsLocal(spec)
        let distribution = Self.readDistribution(metadata, spec)
        spec.finish()
        return ServiceResource(
            metadata: metadata,
            spec: Spec(
                selector: selector, ports: ports.map(\.port), clusterIP: clusterIP ?? clusterIPs.first,
                // One address says the same in both fields.
                clusterIPs: clusterIPs.count > 1 ? clusterIPs : [], ipFamilies: families, ipFamilyPolicy: policy,
                internalTrafficPolicy: isLocal ? "Local" : nil, trafficDistribution: distribution))
    }

    private static func readFamilyPolicy(_ spec: ObjectReader) -> IPFamilyPolicy? {
        guard let field = spec.optional("ipFamilyPolicy"), let text = field.string else { return nil }
        let policy = IPFamilyPolicy(rawValue: text)
        if policy == nil {
            field.report(
                "has to be one of \(IPFamilyPolicy.allCases.map(\.rawValue).joined(separator: ", ")), not "
                    + "\(text.prefix(32))")
        }
        return policy
    }

    private static func readFamilies(_ spec: ObjectReader) -> [IPFamily] {
        var families: [IPFamily] = []
        for field in spec.optional("ipFamilies")?.list ?? [] {
            guard let text = field.string else { continue }
            guard let family = IPFamily(rawValue: text) else {
                field.report("has to be IPv4 or IPv6, not \(text.prefix(32))")
                continue
            }
            if families.contains(family) { field.report("\(text) is named twice") }
            families.append(family)
        }
        return families
    }

    /// What is said of families has to agree.
    ///
    /// - Parameter named: those of the addresses that the document names.
    private static func checkFamilies(
        _ families: [IPFamily], _ policy: IPFamilyPolicy?, named: [IPFamily], _ spec: ObjectReader
    ) {
        if policy == .singleStack, families.count > 1 {
            spec.report("ipFamilies", "SingleStack takes one family; choose PreferDualStack, or one family")
        }
        if policy == .singleStack, Set(named).count > 1 {
            spec.report("clusterIPs", "SingleStack takes addresses of one family; choose PreferDualStack")
        }
        guard let first = families.first, let own = named.first else { return }
        if own != first {
            spec.report("ipFamilies", "the first family has to be that of the first address, \(own.rawValue)")
        }
        if families.count == 1, policy == nil || policy == .singleStack, Set(named).count > 1 {
            spec.report("ipFamilies", "names one family, and clusterIPs has addresses of both")
        }
    }

    private static func readIsLocal(_ spec: ObjectReader) -> Bool {
        guard let field = spec.optional("internalTrafficPolicy"), let text = field.string else { return false }
        if text != "Cluster", text != "Local" { field.report("has to be Cluster or Local, not \(text.prefix(32))") }
        return text == "Local"
    }

    private static func readDistribution(_ metadata: ResourceMetadata, _ spec: ObjectReader) -> TrafficDistribution? {
        let known = TrafficDistribution.allCases.map(\.rawValue).joined(separator: ", ")
        if let text = metadata.annotations[TrafficDistribution.annotation],
            TrafficDistribution(annotation: text) == nil
        {
            spec.problems.add(
                line: nil, path: "metadata.annotations[\(TrafficDistribution.annotation)]",
                "has to be one of \(known), not \(text.prefix(32))")
        }
        guard let field = spec.optional("trafficDistribution"), let text = field.string else { return nil }
        let value = TrafficDistribution(rawValue: text)
        if value == nil { field.report("has to be one of \(known), not \(text.prefix(32))") }
        return value
    }

    private static func isHeadless(_ spec: ObjectReader) -> Bool {
        if case .scalar("None", _) = spec.optional("clusterIP")?.value.content { return true }
        return false
    }

    private static func checkPorts(_ ports: [(field: Field, port: Port)], _ spec: ObjectReader, isRequired: Bool) {
        if isRequired, !spec.has("ports") { spec.report("ports", "is required: name at least one port") }
        if isRequired, spec.has("ports"), spec.optional("ports")?.list?.isEmpty == true {
            spec.report("ports", "has to name at least one port")
        }
        var (numbers, names) = (Set<UInt16>(), Set<String>())
        for (field, port) in ports {
            if !numbers.insert(port.port).inserted { field.report("port \(port.port) is listed twice") }
            if let name = port.name {
                if !names.insert(name).inserted { field.report("the name \(name) is used twice") }
            } else if ports.count > 1 {
                field.report("name is required when there are several ports")
            }
        }
    }

    private static func checkAddress(orNone: Bool) -> (String) -> String? {
        { text in
            if orNone, text == "None" { return nil }
            guard let address = IPAddress(text) else {
                return "'\(text.prefix(64))' is not an IP address" + (orNone ? " or None" : "")
            }
            return address.isAssignable ? nil : "\(text) cannot be the address of a service"
        }
    }

    private static func refuseUnsupported(_ spec: ObjectReader) {
        if let field = spec.optional("type"), let type = field.string, type != "ClusterIP" {
            field.report("has to be ClusterIP: a service is reached from inside the mesh, not \(type.prefix(64))")
        }
        if let field = spec.optional("sessionAffinity"), let text = field.string, text != "None" {
            field.report("only None is supported: each connection is balanced on its own")
        }
        spec.refuse(
            "externalName", "externalIPs", "loadBalancerIP", "loadBalancerClass", "loadBalancerSourceRanges",
            "allocateLoadBalancerNodePorts", "externalTrafficPolicy", "healthCheckNodePort",
            because: "services are reached from inside the mesh only; leave it out")
        spec.refuse("sessionAffinityConfig", because: "each connection is balanced on its own; leave it out")
        spec.refuse("publishNotReadyAddresses", because: "only healthy endpoints are used; leave it out")
    }
}

extension ServiceResource.Port {
    fileprivate static func read(_ object: ObjectReader) -> Self? {
        let name = object.optional("name")?.string(NameRules.label)
        let port = object.required("port")?.applicationPort
        var target: UInt16?
        if let field = object.optional("targetPort") {
            if case .scalar(let text, _) = field.value.content, UInt64(text) == nil {
                field.report("names of ports cannot be looked up in a workload; give the number it listens on")
            } else {
                target = field.applicationPort
            }
        }
        let transport = object.optional("protocol")
        if let transport, let text = transport.string, text != "TCP" {
            transport.report("only TCP is carried by the mesh, not \(text.prefix(32))")
        }
        let appProtocol = object.optional("appProtocol")?.string { $0.utf8.count <= 253 ? nil : "is too long" }
        object.refuse("nodePort", because: "services are reached from inside the mesh only; leave it out")
        object.finish()
        return port.map {
            Self(
                name: name, port: $0, targetPort: target, protocol: transport == nil ? nil : "TCP",
                appProtocol: appProtocol)
        }
    }
}

extension Field {
    /// A port on which an application may listen.
    var applicationPort: UInt16? {
        guard let port = self.port else { return nil }
        if MeshPorts.isReserved(port) {
            self.report("port \(port) belongs to the mesh itself")
            return nil
        }
        return port
    }
}

extension IPAddress {
    /// Can one host have it?
    var isAssignable: Bool {
        if self.isUnspecified || self.isLoopback { return false }
        if let value = self.ipv4 { return value >> 28 != 0xe && value >> 24 != 0 && value != .max }
        return self.high >> 56 != 0xff
    }
}
