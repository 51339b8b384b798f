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
        spec.weight = object.optional("weight")?.integer(in: 1...1_000_000).map { UInt32(truncatingIfNeeded: $0) }
        spec.locality = object.optional("locality")?.string { text in
            Locality(text)?.isKnown == true
                ? nil : "'\(text.prefix(80))' is not a place: use REGION, REGION/ZONE or REGION/ZONE/SUBZONE"
        }
        object.refuse(
            "cgroup", "networkNamespace", "ports",
            because: "belongs in an enrolment file: the node that runs the workload enrols it")
    }

    private static func readEnrolment(_ spec: inout Spec, _ object: ObjectReader) {
        spec.cgroup = object.required("cgroup")?.string(NameRules.absolutePath)
        spec.networkNamespace = object.optional("networkNamespace")?.string(NameRules.absolutePath)
        for field in object.optional("ports")?.nonEmptyList ?? [] {
            guard let port = field.applicationPort else { continue }
            if spec.ports.contains(port) { field.report("port \(port) is named twice") }
            spec.ports.append(port)
        }
        object.refuse(
            "node", "tunnel", "weight", "locality",
            because: "belongs to a static endpoint; the node fills it in for its own")
    }

    private static func checkAddress(_ text: String) -> String? {
        guard let address = IPAddress(text) else { return "'\(text.prefix(64))' is not an IP address" }
        return address.isAssignable ? nil : "\(text) cannot be the address of a workload"
    }
}
