// SPDX-License-Identifier: Apache-2.0

internal import MeshModel

extension WorkloadResource {
    /// Reads the `spec` of a Workload, of which each usage has its own fields.
    static func read(
        _ metadata: ResourceMetadata, _ object: ObjectReader, _ usage: ResourceDecoder.Usage
    ) -> WorkloadResource? {
        var spec = Spec()
        let addresses = object.optional("addresses")
        for field in addresses?.nonEmptyList ?? [] {
            guard let text = field.string(Self.checkAddress) else { continue }
            if spec.addresses.contains(text) { field.report("\(text) is named twice") }
            spec.addresses.append(text)
        }
        spec.serviceAccount = object.optional("serviceAccount")?.string(NameRules.subdomain)
        spec.weight = object.optional("weight")?.integer(in: 1...1_000_000).map { UInt32(truncatingIfNeeded: $0) }
        switch usage {
        case .apply: Self.readStatic(&spec, object, hasAddresses: addresses != nil)
        case .enrolment: Self.readEnrolment(&spec, object)
        }
        object.finish()
        return WorkloadResource(metadata: metadata, spec: spec)
    }

    private static func readStatic(_ spec: inout Spec, _ object: ObjectReader, hasAddresses: Bool) {
        if !hasAddresses { object.report("addresses", "is required: name at least one IP address") }
        spec.node = object.optional("node")?.string(NameRules.subdomain)
        if let field = object.optional("tunnel"), let text = field.string {
            spec.tunnel = TunnelProtocol(rawValue: text)
            if spec.tunnel == nil { field.report("has to be none or tunnel, not \(text.prefix(32))") }
            if spec.tunnel == .tunnel, !object.has("node") {
                object.report("node", "is required when spec.tunnel is tunnel: it says where to")
            }
        }
        spec.locality = object.optional("locality")?.string { text in
            Locality(text)?.isKnown == true
                ? nil : "'\(text.prefix(80))' is not a place: use REGION, REGION/ZONE or REGION/ZONE/SUBZONE"
        }
        object.refuse(
            "cgroup", "unit", "networkNamespace", "whenGone", "failMode", "exclude", "originalDestination",
            "accelerate", "dns", "template", "ports",
            because: "belongs in an enrolment file: the node that runs the workload enrols it")
    }

    private static func readEnrolment(_ spec: inout Spec, _ object: ObjectReader) {
        var enrolment = Spec.Enrolment()
        enrolment.cgroup = object.optional("cgroup")?.string(NameRules.absolutePath)
        enrolment.unit = object.optional("unit")?.string
        if object.has("cgroup") == object.has("unit") {
            object.report("cgroup", "is required, or spec.unit: name one of them, the cgroup or the systemd unit")
        }
        enrolment.networkNamespace = object.optional("networkNamespace")?.string(NameRules.absolutePath)
        enrolment.whenGone = Self.choice(object.optional("whenGone"), "wait", "forget")
        enrolment.failMode = Self.choice(object.optional("failMode"), "closed", "open")
        enrolment.originalDestination = object.optional("originalDestination")?.boolean
        enrolment.accelerate = Self.choice(object.optional("accelerate"), "sockmap")
        enrolment.dns = Self.choice(object.optional("dns"), "off")
        if let exclude = object.optional("exclude")?.object {
            enrolment.excludePorts = Self.ports(exclude.optional("ports"))
            enrolment.excludeInboundPorts = Self.ports(exclude.optional("inboundPorts"))
            for field in exclude.optional("prefixes")?.nonEmptyList ?? [] {
                let text = field.string { text in
                    IPPrefix(text) == nil ? "'\(text.prefix(64))' is not a CIDR block, such as 10.1.0.0/16" : nil
                }
                if let text { enrolment.excludePrefixes.append(text) }
            }
            exclude.finish()
        }
        if let template = object.optional("template")?.object {
            enrolment.template = Self.readTemplate(template)
            object.refuse(
                "networkNamespace", "addresses", "serviceAccount",
                because: "is of one workload; of a template's children it is found, or named in spec.template")
        }
        object.refuse(
            "node", "tunnel", "locality", because: "belongs to a static endpoint; the node fills it in for its own")
        object.refuse("ports", because: "is not needed: nodemeshd finds the ports that the workload listens on")
        spec.enrolment = enrolment
    }

    private static func readTemplate(_ object: ObjectReader) -> Spec.Template {
        var template = Spec.Template(pattern: object.required("pattern")?.string ?? "")
        template.name = object.optional("name")?.string
        template.namespace = object.optional("namespace")?.string
        template.serviceAccount = object.optional("serviceAccount")?.string
        template.labels = object.optional("labels")?.map(NameRules.labelKey, { _ in nil }) ?? [:]
        template.isGuarded = object.optional("guard")?.boolean
        object.finish()
        return template
    }

    private static func choice(_ field: Field?, _ allowed: String...) -> String? {
        field?.string { text in
            allowed.contains(text)
                ? nil : "has to be \(allowed.joined(separator: " or ")), not '\(text.prefix(32))'"
        }
    }

    private static func ports(_ field: Field?) -> [UInt16] {
        var ports: [UInt16] = []
        for field in field?.nonEmptyList ?? [] {
            guard let port = field.port else { continue }
            if ports.contains(port) { field.report("port \(port) is named twice") }
            ports.append(port)
        }
        return ports
    }

    private static func checkAddress(_ text: String) -> String? {
        guard let address = IPAddress(text) else { return "'\(text.prefix(64))' is not an IP address" }
        return address.isAssignable ? nil : "\(text) cannot be the address of a workload"
    }
}
