// SPDX-License-Identifier: Apache-2.0

package import MeshAdminAPI

/// Reads operators' documents: YAML or JSON, several in one text, lists included. All or nothing, and all problems at
/// once.
package enum ResourceDecoder {
    /// What the text is for.
    package enum Usage: Sendable {
        /// For the control plane.
        case apply
        /// An enrolment file of a node: Workloads with a cgroup.
        case enrolment
    }

    /// A resource and where it stands in the text.
    package struct Located: Hashable, Sendable {
        package var resource: Resource
        /// From 1.
        package var document: Int
        /// From 1.
        package var line: Int

        /// A problem with this resource that only others than the decoder can know of.
        package func problem(path: String, reason: String) -> ResourceProblem {
            ResourceProblem(
                document: self.document, line: self.line, kind: self.resource.kind.rawValue,
                namespace: self.resource.metadata.namespace, name: self.resource.metadata.name, path: path,
                reason: reason)
        }
    }

    package static func decode(
        text: String, limits: ResourceLimits = ResourceLimits(), usage: Usage = .apply
    ) -> Result<[Resource], InvalidResources> {
        self.decodeLocated(text: text, limits: limits, usage: usage).map { $0.map(\.resource) }
    }

    /// In the order of the text.
    package static func decodeLocated(
        text: String, limits: ResourceLimits = ResourceLimits(), usage: Usage = .apply
    ) -> Result<[Located], InvalidResources> {
        let problems = ProblemList(limit: limits.problems)
        var run = Run(limits: limits, usage: usage, problems: problems)
        for document in DocumentParser.parse(text, limits: limits) {
            switch document.content {
            case .problem(let problem):
                problems.add(problem)
            case .value(let value):
                run.readDocument(Field(value: value, path: "", problems: problems), document.position)
            }
        }
        if problems.count == 0, run.resources.isEmpty {
            problems.beginResource(document: 1)
            problems.add(line: nil, path: "", "there is no resource in the text")
        }
        return problems.count == 0 ? .success(run.resources) : .failure(problems.result)
    }
}

/// One call of the decoder.
private struct Run {
    let limits: ResourceLimits
    let usage: ResourceDecoder.Usage
    let problems: ProblemList
    var resources: [ResourceDecoder.Located] = []
    private var seen: [ResourceKey: Int] = [:]
    private var count = 0

    init(limits: ResourceLimits, usage: ResourceDecoder.Usage, problems: ProblemList) {
        self.limits = limits
        self.usage = usage
        self.problems = problems
    }

    mutating func readDocument(_ field: Field, _ document: Int) {
        self.problems.beginResource(document: document)
        guard let object = field.object else { return }
        if case .some("List") = Self.text(object, "kind") {
            self.readList(object, document)
        } else {
            self.readResource(object, document)
        }
    }

    /// A member's text without any complaint: the readers complain.
    private static func text(_ object: ObjectReader, _ name: String) -> String? {
        guard case .scalar(let text, _) = object.optional(name)?.value.content else { return nil }
        return text
    }

    private mutating func readList(_ object: ObjectReader, _ document: Int) {
        if object.required("apiVersion")?.string ?? "v1" != "v1" {
            object.report("apiVersion", "has to be v1 for List")
        }
        _ = object.optional("kind")
        object.ignore("metadata")
        let items = object.required("items")?.list ?? []
        object.finish()
        for item in items {
            self.problems.beginResource(document: document)
            guard let object = item.object else { continue }
            self.readResource(object, document)
        }
    }

    private mutating func readResource(_ object: ObjectReader, _ document: Int) {
        self.count += 1
        if self.count > self.limits.resources {
            if self.count == self.limits.resources + 1 {
                object.report("more than \(self.limits.resources) resources in one call")
            }
            return
        }
        let faults = self.problems.count
        let version = object.required("apiVersion")?.string
        let kindText = object.required("kind")?.string
        if let kindText { self.problems.nameResource(kind: String(kindText.prefix(64))) }
        guard let kind = self.kind(kindText, version, object), let metadata = object.required("metadata")?.object,
            let metadata = ResourceMetadata.read(metadata, kind: kind)
        else {
            // Without a name or a kind the rest cannot be judged.
            return
        }
        guard let resource = self.read(kind, metadata, object), self.problems.count == faults else { return }
        if let first = self.seen[resource.key] {
            object.report("\(resource.key) stands twice in what was sent, first on line \(first)")
            return
        }
        self.seen[resource.key] = object.line
        self.resources.append(.init(resource: resource, document: document, line: object.line))
    }

    private func kind(_ text: String?, _ version: String?, _ object: ObjectReader) -> ResourceKind? {
        guard let text, let version else { return nil }
        guard let kind = ResourceKind(rawValue: text) else {
            let known = ResourceKind.allCases.map { "\($0.rawValue) (\($0.apiVersion))" }.joined(separator: ", ")
            object.report("kind", "kind \(text.prefix(64)) is not supported; supported are \(known)")
            return nil
        }
        guard kind.acceptedVersions.contains(version) else {
            object.report(
                "apiVersion",
                "has to be \(kind.acceptedVersions.joined(separator: " or ")) for \(kind.rawValue), not "
                    + version.prefix(64))
            return nil
        }
        if self.usage == .enrolment, kind != .workload {
            object.report("kind", "an enrolment file holds Workloads only; apply this to the control plane")
            return nil
        }
        return kind
    }

    private func read(_ kind: ResourceKind, _ metadata: ResourceMetadata, _ object: ObjectReader) -> Resource? {
        // What a control plane reports about a resource is no part of it.
        object.ignore("status")
        let isSpecRequired = kind != .peerAuthentication && kind != .authorizationPolicy
        let field = isSpecRequired ? object.required("spec") : object.optional("spec")
        object.finish()
        guard let spec = field.map(\.object) ?? ObjectReader.empty(like: object) else { return nil }
        if isSpecRequired, field == nil { return nil }
        return switch kind {
        case .service: ServiceResource.read(metadata, spec).map { .service($0) }
        case .workload: WorkloadResource.read(metadata, spec, self.usage).map { .workload($0) }
        case .peerAuthentication: .peerAuthentication(PeerAuthenticationResource.read(metadata, spec))
        case .authorizationPolicy: .authorizationPolicy(AuthorizationPolicyResource.read(metadata, spec))
        case .destinationRule: DestinationRuleResource.read(metadata, spec).map { .destinationRule($0) }
        case .connectionLimits: .connectionLimits(ConnectionLimitsResource.read(metadata, spec))
        }
    }
}

extension ObjectReader {
    /// Stands for a `spec` that was left out.
    fileprivate static func empty(like object: ObjectReader) -> ObjectReader? {
        ObjectReader([], line: object.line, path: "spec", problems: object.problems)
    }
}

extension ResourceMetadata {
    fileprivate static func read(_ object: ObjectReader, kind: ResourceKind) -> ResourceMetadata? {
        let rule: (String) -> String? =
            switch kind {
            case .service, .workload: NameRules.label
            case .peerAuthentication, .authorizationPolicy, .destinationRule, .connectionLimits: NameRules.subdomain
            }
        let name = object.required("name")?.string(rule)
        let namespaceField = object.optional("namespace")
        let namespace = namespaceField == nil ? "default" : namespaceField?.string(NameRules.label)
        object.problems.nameResource(namespace: namespace, name: name)
        let labels = object.optional("labels")?.map(NameRules.labelKey, NameRules.labelValue) ?? [:]
        let annotations = object.optional("annotations")?.map(NameRules.labelKey, NameRules.annotationValue) ?? [:]
        // Set by Kubernetes on what it hands out; meaningless in a declaration.
        object.ignore("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink")
        object.refuse("generateName", because: "generated names are not supported; give metadata.name")
        object.refuse(
            "ownerReferences", "finalizers", "deletionTimestamp", "deletionGracePeriodSeconds",
            because: "is not supported; leave it out")
        object.finish()
        guard let name, let namespace else { return nil }
        return ResourceMetadata(name: name, namespace: namespace, labels: labels, annotations: annotations)
    }
}

extension LabelSelector {
    static func read(_ object: ObjectReader) -> LabelSelector {
        let labels = object.optional("matchLabels")?.map(NameRules.labelKey, NameRules.labelValue) ?? [:]
        object.refuse("matchExpressions", because: "is not supported; use matchLabels")
        object.finish()
        return LabelSelector(matchLabels: labels)
    }
}
