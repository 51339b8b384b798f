// SPDX-License-Identifier: Apache-2.0

import MeshAPI
import SwiftProtobuf

/// The server's half of one delta discovery stream: what its client holds, of which types, and what to send next.
///
/// Each type goes, by itself, through
///
///     unsubscribed --request--> due --next()--> outstanding --ACK or NACK--> current --change--> due
///
/// with at most one response outstanding. It owns no socket, clock or logger.
package struct DeltaServerStream: Sendable {
    private typealias Request = Envoy_Service_Discovery_V3_DeltaDiscoveryRequest
    private typealias Response = Envoy_Service_Discovery_V3_DeltaDiscoveryResponse

    /// What a request meant.
    package enum Received: Sendable, Hashable {
        /// A type this server does not distribute; it is never answered.
        case unknownType(String)
        /// The first request of a type, or another set of names.
        case subscribed(ResourceType)
        case acknowledged(ResourceType)
        /// The client kept some or all of the previous versions; not repeated until they change.
        case rejected(ResourceType, message: String)
        /// An answer to a response that is not outstanding, or nothing new.
        case ignored(ResourceType)
    }

    private struct Subscription: Sendable {
        var isWildcard = false
        var names: Set<String> = []
        /// Asked for by name and not answered yet: absent ones are answered too, as removed.
        var asked: Set<String> = []
        /// What the client has, or was sent and refused.
        var held: [String: String] = [:]
        var outstanding: String?
        /// Up to where the table's changes are in `due`; nil: compare everything.
        var generation: UInt64?
        var due: Set<String> = []
        /// The first response goes out even when empty: it tells the client that there is nothing.
        var isAnswered = false

        func wants(_ name: String) -> Bool { self.isWildcard || self.names.contains(name) }
    }

    /// Things a client leans on are sent in the order of their types, and taken away in the opposite order: a policy
    /// arrives before the workload that names it and goes after it.
    private static let phases: [(type: ResourceType, sendsUpserts: Bool, sendsRemovals: Bool)] = [
        (.mesh, true, false), (.node, true, false), (.authorization, true, false), (.address, true, true),
        (.authorization, false, true), (.node, false, true), (.mesh, false, true),
        (.dryRun, true, true),
    ]

    private let limits: DiscoveryLimits
    private var subscriptions: [ResourceType: Subscription] = [:]
    private var lastNonce: UInt64 = 0

    package init(limits: DiscoveryLimits = .init()) { self.limits = limits }

    /// A message of the client arrived.
    package mutating func received(
        _ request: Envoy_Service_Discovery_V3_DeltaDiscoveryRequest
    ) throws(DiscoveryError) -> Received {
        guard let type = ResourceType(typeURL: request.typeURL) else {
            return .unknownType(String(request.typeURL.prefix(self.limits.nameBytes)))
        }
        try self.checkNames(in: request)
        guard var subscription = self.subscriptions[type] else {
            self.subscriptions[type] = Self.begin(with: request)
            return .subscribed(type)
        }
        let isChanged = Self.apply(request, to: &subscription)
        guard subscription.names.count <= self.limits.names else {
            throw DiscoveryError(.limitExceeded, "the client subscribed to more than \(self.limits.names) names")
        }
        var result: Received = isChanged ? .subscribed(type) : .ignored(type)
        if !request.responseNonce.isEmpty, request.responseNonce == subscription.outstanding {
            subscription.outstanding = nil
            result =
                request.hasErrorDetail
                ? .rejected(type, message: String(request.errorDetail.message.prefix(2048))) : .acknowledged(type)
        }
        self.subscriptions[type] = subscription
        return result
    }

    private func checkNames(in request: Request) throws(DiscoveryError) {
        let count =
            request.resourceNamesSubscribe.count + request.resourceNamesUnsubscribe.count
            + request.initialResourceVersions.count
        guard count <= self.limits.names else {
            throw DiscoveryError(.limitExceeded, "the client sent \(count) names, more than \(self.limits.names)")
        }
        let bytes = self.limits.nameBytes
        guard request.resourceNamesSubscribe.allSatisfy({ $0.utf8.count <= bytes }),
            request.resourceNamesUnsubscribe.allSatisfy({ $0.utf8.count <= bytes }),
            request.initialResourceVersions.allSatisfy({ $0.key.utf8.count <= bytes && $0.value.utf8.count <= bytes })
        else { throw DiscoveryError(.limitExceeded, "the client sent a name longer than \(bytes) bytes") }
    }

    private static func begin(with request: Request) -> Subscription {
        var subscription = Subscription()
        // No names at all in the first request of a type means all of them.
        subscription.isWildcard = request.resourceNamesSubscribe.isEmpty
        _ = self.apply(request, to: &subscription)
        subscription.held = request.initialResourceVersions
        subscription.asked.subtract(request.initialResourceVersions.keys)
        return subscription
    }

    /// - Returns: whether the set of wanted names changed.
    private static func apply(_ request: Request, to subscription: inout Subscription) -> Bool {
        var isChanged = false
        for name in request.resourceNamesUnsubscribe {
            if name == "*" {
                isChanged = isChanged || subscription.isWildcard
                subscription.isWildcard = false
            } else if subscription.names.remove(name) != nil {
                isChanged = true
                subscription.asked.remove(name)
            }
        }
        if isChanged {
            // The client forgets by itself what it no longer wants.
            let (wanted, isWildcard) = (subscription.names, subscription.isWildcard)
            subscription.held = subscription.held.filter { isWildcard || wanted.contains($0.key) }
        }
        for name in request.resourceNamesSubscribe {
            isChanged = true
            if name == "*" {
                subscription.isWildcard = true
                subscription.generation = nil
            } else {
                // Asking again means that the client lost it.
                subscription.names.insert(name)
                subscription.asked.insert(name)
                subscription.held.removeValue(forKey: name)
                subscription.due.insert(name)
            }
        }
        return isChanged
    }

    /// The next response to send, nil when there is nothing to send now. Call it after every event until it is nil.
    ///
    /// - Parameters:
    ///   - tables: a type without a table is not known yet; it and all that follow it wait.
    ///   - revision: of what the tables are made from; 0: not known.
    package mutating func next(
        from tables: [ResourceType: ResourceTable], revision: UInt64 = 0
    ) -> Envoy_Service_Discovery_V3_DeltaDiscoveryResponse? {
        for phase in Self.phases {
            guard var subscription = self.subscriptions[phase.type] else { continue }
            guard let table = tables[phase.type] else { return nil }
            Self.absorb(table, into: &subscription)
            let names = subscription.due.filter {
                table.resources[$0] == nil || !subscription.wants($0) ? phase.sendsRemovals : phase.sendsUpserts
            }
            let isFirst = !subscription.isAnswered && phase.sendsUpserts
            guard isFirst || !names.isEmpty else {
                self.subscriptions[phase.type] = subscription
                continue
            }
            guard subscription.outstanding == nil else {
                self.subscriptions[phase.type] = subscription
                return nil
            }
            var response = self.response(for: names.sorted(), of: phase.type, in: table, to: &subscription)
            self.lastNonce += 1
            response.nonce = String(self.lastNonce)
            if revision > 0 { response.revision = revision }
            subscription.outstanding = response.nonce
            subscription.isAnswered = true
            self.subscriptions[phase.type] = subscription
            return response
        }
        return nil
    }

    /// Takes in what changed in a table, and leaves in `due` only what differs from what the client has.
    private static func absorb(_ table: ResourceTable, into subscription: inout Subscription) {
        if let generation = subscription.generation, let changes = table.changes(after: generation) {
            subscription.due.formUnion(changes)
        } else {
            subscription.due.formUnion(table.resources.keys)
            subscription.due.formUnion(subscription.held.keys)
        }
        subscription.generation = table.generation
        let current = subscription
        subscription.due = subscription.due.filter { name in
            guard current.wants(name) else { return current.held[name] != nil }
            guard let resource = table.resources[name] else {
                return current.held[name] != nil || current.asked.contains(name)
            }
            return current.held[name] != resource.version
        }
    }

    private func response(
        for names: [String], of type: ResourceType, in table: ResourceTable, to subscription: inout Subscription
    ) -> Response {
        var response = Response()
        response.typeURL = type.typeURL
        var bytes = 0
        for name in names {
            let resource = subscription.wants(name) ? table.resources[name] : nil
            let size = name.utf8.count + (resource?.payload.count ?? 0) + 64
            if bytes > 0, bytes + size > self.limits.responseBytes {
                response.isPartial = true
                break
            }
            bytes += size
            subscription.due.remove(name)
            subscription.asked.remove(name)
            guard let resource else {
                subscription.held.removeValue(forKey: name)
                response.removedResources.append(name)
                continue
            }
            subscription.held[name] = resource.version
            response.resources.append(.init(resource, type: type))
        }
        response.systemVersionInfo = "\(table.generation)\(response.isPartial ? Response.partialMark : "")"
        return response
    }
}

extension Envoy_Service_Discovery_V3_DeltaDiscoveryResponse {
    /// Ends the otherwise opaque version of a response that more of the same follow at once, so that a client does not
    /// take a part of the mesh for the whole. Servers that never split a change never set it.
    fileprivate static let partialMark = " partial"

    /// Before the number of the store's revision in that version.
    fileprivate static let revisionMark = "@"

    /// The revision of the store that the response was made from, which only grows; nil: the server does not tell.
    package fileprivate(set) var revision: UInt64? {
        get {
            self.systemVersionInfo.split(separator: " ").first { $0.hasPrefix(Self.revisionMark) }
                .flatMap { UInt64($0.dropFirst(Self.revisionMark.count)) }
        }
        set {
            guard let newValue else { return }
            self.systemVersionInfo = "\(Self.revisionMark)\(newValue) " + self.systemVersionInfo
        }
    }

    package fileprivate(set) var isPartial: Bool {
        get { self.systemVersionInfo.hasSuffix(Self.partialMark) }
        set { self.systemVersionInfo = newValue ? Self.partialMark : "" }
    }
}

extension Envoy_Service_Discovery_V3_Resource {
    fileprivate init(_ resource: DiscoveryResource, type: ResourceType) {
        self.init()
        self.name = resource.name
        self.version = resource.version
        self.aliases = resource.aliases
        self.resource = Google_Protobuf_Any()
        self.resource.typeURL = type.typeURL
        self.resource.value = resource.payload
    }
}
