// SPDX-License-Identifier: Apache-2.0

extension ConnectionLimitsResource {
    static func read(_ metadata: ResourceMetadata, _ object: ObjectReader) -> ConnectionLimitsResource {
        let spec = Spec(
            targetRef: object.optional("targetRef")?.object.flatMap(TargetRef.read),
            destination: object.optional("destination")?.object.map(Destination.read),
            selector: object.optional("selector")?.object.map(LabelSelector.read),
            workload: object.optional("workload")?.object.map(Share.read))
        switch (object.has("destination"), object.has("workload")) {
        case (true, true):
            object.report("limits are for a service (destination) or for workloads (workload): make two of it")
        case (false, false):
            object.report("has to say what is limited: destination, with a targetRef, or workload")
        case (true, false):
            if !object.has("targetRef") {
                object.report("targetRef", "is required beside destination: name the Service that is meant")
            }
            if object.has("selector") {
                object.report("selector", "goes with workload; beside destination the targetRef names a Service")
            }
        case (false, true):
            if object.has("targetRef") {
                object.report("targetRef", "goes with destination; beside workload use selector.matchLabels")
            }
        }
        object.finish()
        return ConnectionLimitsResource(metadata: metadata, spec: spec)
    }
}

extension ConnectionLimitsResource.TargetRef {
    fileprivate static func read(_ object: ObjectReader) -> Self? {
        if let field = object.required("kind"), let text = field.string, text != ResourceKind.service.rawValue {
            field.report("has to be Service, not \(text.prefix(64))")
        }
        if let field = object.optional("group"), let text = field.string, text != "" {
            field.report("has to be \"\", the group of Service; or leave it out")
        }
        let name = object.required("name")?.string(NameRules.label)
        object.refuse("namespace", because: "the Service is in the namespace of these limits; leave it out")
        object.refuse("sectionName", because: "limits are those of the whole service; leave it out")
        object.finish()
        return name.map { Self(name: $0) }
    }
}

extension ConnectionLimitsResource.Destination {
    fileprivate static func read(_ object: ObjectReader) -> Self {
        let result = Self(
            maxConnections: object.optional("maxConnections")?.limit,
            maxPending: object.optional("maxPending")?.limit,
            connectsPerSecond: object.optional("connectsPerSecond")?.limit)
        object.reportIfEmpty("maxConnections", "maxPending", "connectsPerSecond")
        object.finish()
        return result
    }
}

extension ConnectionLimitsResource.Share {
    fileprivate static func read(_ object: ObjectReader) -> Self {
        let result = Self(
            connectionsPerSecond: object.optional("connectionsPerSecond")?.limit,
            handshakesPerSecond: object.optional("handshakesPerSecond")?.limit,
            maxConnections: object.optional("maxConnections")?.limit,
            bytesPerSecond: object.optional("bytesPerSecond")?.quantity)
        object.reportIfEmpty("connectionsPerSecond", "handshakesPerSecond", "maxConnections", "bytesPerSecond")
        object.finish()
        return result
    }
}
