// SPDX-License-Identifier: Apache-2.0

extension PeerAuthenticationResource {
    static func read(_ metadata: ResourceMetadata, _ object: ObjectReader) -> PeerAuthenticationResource {
        var spec = Spec()
        spec.selector = object.optional("selector")?.object.map(LabelSelector.read)
        spec.mtls = object.optional("mtls")?.object.map(MutualTLS.read)
        if let ports = object.optional("portLevelMtls") {
            if spec.selector.map(\.matchLabels.isEmpty) ?? true {
                ports.report("needs spec.selector.matchLabels: ports are those of certain workloads")
            }
            spec.portLevelMtls = Self.readPorts(ports)
        }
        object.finish()
        return PeerAuthenticationResource(metadata: metadata, spec: spec)
    }

    private static func readPorts(_ field: Field) -> [String: MutualTLS] {
        guard case .object(let members) = field.value.content else {
            field.report("has to be an object of modes by port, not \(field.value.description)")
            return [:]
        }
        var result: [String: MutualTLS] = [:]
        for member in members {
            let entry = Field(
                value: member.value, path: "\(field.path)[\(member.key.prefix(32))]", problems: field.problems)
            guard let port = UInt16(member.key), port != 0, String(port) == member.key else {
                entry.report("the key has to be a port from 1 to 65535")
                continue
            }
            if let tls = entry.object.map(MutualTLS.read) { result[member.key] = tls }
        }
        return result
    }
}

extension PeerAuthenticationResource.MutualTLS {
    fileprivate static func read(_ object: ObjectReader) -> Self {
        var result = Self()
        if let field = object.optional("mode"), let text = field.string {
            result.mode = PeerAuthenticationResource.Mode(rawValue: text)
            if text == "DISABLE" {
                field.report(
                    "DISABLE is not supported: an enrolled workload always accepts tunnels; use PERMISSIVE to accept "
                        + "plaintext too, or unenroll the workload")
            } else if result.mode == nil {
                field.report("has to be STRICT, PERMISSIVE or UNSET, not \(text.prefix(32))")
            }
        }
        object.finish()
        return result
    }
}
