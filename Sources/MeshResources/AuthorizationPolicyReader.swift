// SPDX-License-Identifier: Apache-2.0

internal import MeshModel

/// Why a field that exists elsewhere is refused here.
private let needsHTTP = "needs an HTTP-aware proxy, not available yet"

extension AuthorizationPolicyResource {
    static func read(_ metadata: ResourceMetadata, _ object: ObjectReader) -> AuthorizationPolicyResource {
        var spec = Spec()
        spec.selector = object.optional("selector")?.object.map(LabelSelector.read)
        if let field = object.optional("action"), let text = field.string {
            spec.action = Action(rawValue: text)
            switch text {
            case "AUDIT": field.report("AUDIT is not supported; use the annotation \(Self.dryRunAnnotation): \"true\"")
            case "CUSTOM": field.report("CUSTOM \(needsHTTP)")
            default: if spec.action == nil { field.report("has to be ALLOW or DENY, not \(text.prefix(32))") }
            }
        }
        spec.rules = (object.optional("rules")?.list ?? []).compactMap { $0.object.map(Rule.read) }
        object.refuse("targetRef", "targetRefs", "provider", because: needsHTTP)
        object.finish()
        switch metadata.annotations[Self.dryRunAnnotation] {
        case nil, "true", "false": break
        case .some(let text):
            object.problems.add(
                line: nil, path: "metadata.annotations[\(Self.dryRunAnnotation)]",
                "has to be \"true\" or \"false\", not \(text.prefix(32))")
        }
        return AuthorizationPolicyResource(metadata: metadata, spec: spec)
    }
}

extension AuthorizationPolicyResource.Rule {
    fileprivate static func read(_ object: ObjectReader) -> Self {
        let from = (object.optional("from")?.nonEmptyList ?? []).compactMap { field in
            field.object.flatMap { object -> AuthorizationPolicyResource.From? in
                defer { object.finish() }
                return object.required("source")?.object.map { .init(source: .read($0)) }
            }
        }
        let to = (object.optional("to")?.nonEmptyList ?? []).compactMap { field in
            field.object.flatMap { object -> AuthorizationPolicyResource.To? in
                defer { object.finish() }
                return object.required("operation")?.object.map { .init(operation: .read($0)) }
            }
        }
        let when = (object.optional("when")?.nonEmptyList ?? []).compactMap {
            $0.object.flatMap(AuthorizationPolicyResource.Condition.read)
        }
        object.finish()
        return Self(from: from, to: to, when: when)
    }
}

extension AuthorizationPolicyResource.Source {
    fileprivate static func read(_ object: ObjectReader) -> Self {
        let result = Self(
            principals: object.values("principals", PolicyText.principal),
            notPrincipals: object.values("notPrincipals", PolicyText.principal),
            namespaces: object.values("namespaces", PolicyText.namespace),
            notNamespaces: object.values("notNamespaces", PolicyText.namespace),
            serviceAccounts: object.values("serviceAccounts", PolicyText.serviceAccount),
            notServiceAccounts: object.values("notServiceAccounts", PolicyText.serviceAccount),
            ipBlocks: object.values("ipBlocks", PolicyText.addressBlock),
            notIpBlocks: object.values("notIpBlocks", PolicyText.addressBlock))
        object.refuse(
            "requestPrincipals", "notRequestPrincipals", "remoteIpBlocks", "notRemoteIpBlocks", because: needsHTTP)
        object.reportIfEmpty(
            "principals", "notPrincipals", "namespaces", "notNamespaces", "serviceAccounts", "notServiceAccounts",
            "ipBlocks", "notIpBlocks", "requestPrincipals", "notRequestPrincipals", "remoteIpBlocks",
            "notRemoteIpBlocks")
        object.finish()
        return result
    }
}

extension AuthorizationPolicyResource.Operation {
    fileprivate static func read(_ object: ObjectReader) -> Self {
        let result = Self(ports: object.ports("ports"), notPorts: object.ports("notPorts"))
        object.refuse(
            "hosts", "notHosts", "methods", "notMethods", "paths", "notPaths", because: needsHTTP)
        object.reportIfEmpty(
            "ports", "notPorts", "hosts", "notHosts", "methods", "notMethods", "paths", "notPaths")
        object.finish()
        return result
    }
}

extension AuthorizationPolicyResource.Condition {
    fileprivate static func read(_ object: ObjectReader) -> Self? {
        let keyField = object.required("key")
        guard let keyField, let text = keyField.string else { return nil }
        guard let key = Key(rawValue: text) else {
            let known = Key.allCases.map(\.rawValue).joined(separator: ", ")
            keyField.report(
                text.hasPrefix("request.") || text == "remote.ip" || text.hasPrefix("connection.")
                    ? "\(text.prefix(80)) \(needsHTTP)" : "has to be one of \(known), not \(text.prefix(80))")
            return nil
        }
        let result: Self
        switch key {
        case .sourceIP, .destinationIP:
            result = .read(key, object) { object.values($0, PolicyText.addressBlock) }
        case .sourceNamespace:
            result = .read(key, object) { object.values($0, PolicyText.namespace) }
        case .sourcePrincipal:
            result = .read(key, object) { object.values($0, PolicyText.principal) }
        case .destinationPort:
            result = .read(key, object) { object.ports($0) }
        }
        object.reportIfEmpty("values", "notValues")
        object.finish()
        return result
    }

    private static func read(_ key: Key, _ object: ObjectReader, _ values: (String) -> [String]) -> Self {
        Self(key: key, values: values("values"), notValues: values("notValues"))
    }
}

extension ObjectReader {
    /// A list of texts that each pass `check`, which answers with what is wrong.
    fileprivate func values(_ name: String, _ check: (String) -> String?) -> [String] {
        (self.optional(name)?.nonEmptyList ?? []).compactMap { $0.string(check) }
    }

    /// A list of ports, written as text or as numbers.
    fileprivate func ports(_ name: String) -> [String] {
        (self.optional(name)?.nonEmptyList ?? []).compactMap { field in
            guard case .scalar(let text, _) = field.value.content, let port = PolicyText.port(text) else {
                field.report("has to be a port from 1 to 65535, such as \"8080\"")
                return nil
            }
            return String(port)
        }
    }
}
