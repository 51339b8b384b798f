// SPDX-License-Identifier: Apache-2.0
import MeshModel

/// The names of the mesh's services, as one view of the mesh has them. It never changes.
///
/// `NAME.NAMESPACE.DOMAIN` leads to a service's virtual addresses; a service without any (headless) to its healthy
/// endpoints. Workloads have no names of their own. In the mesh's own domain what is not known does not exist; in an alias
/// domain, which others serve too, it is theirs to answer.
package struct MeshZone: Sendable {
    package enum Answer: Sendable, Equatable {
        /// Records by type and data, all of the question's name.
        case records([Record])
        /// The name exists, and has none of this type.
        case noData(apex: DNSName)
        case nameError(apex: DNSName)
        /// The mesh is not known yet: nothing can be said.
        case unavailable
    }

    package struct Record: Sendable, Equatable {
        package let type: RecordType
        package let data: [UInt8]
    }

    /// Endpoints of a headless service in one answer; more do not help a client.
    private static let maximumEndpoints = 32

    private let snapshot: MeshSnapshot?
    private let namespaces: Set<String>
    private let domain: DNSName
    private let aliases: [DNSName]
    package let timeToLive: UInt32

    /// - Parameters:
    ///   - snapshot: nil while nothing is known of the mesh.
    ///   - timeToLive: seconds, of names that do not exist too.
    package init(snapshot: MeshSnapshot?, domain: DNSName, aliases: [DNSName], timeToLive: UInt32) {
        self.snapshot = snapshot
        self.namespaces = Set(snapshot?.services.map(\.id.namespace) ?? [])
        self.domain = domain
        self.aliases = aliases
        self.timeToLive = timeToLive
    }

    /// Nil: somebody else's name.
    package func answer(_ question: DNSQuestion) -> Answer? {
        guard question.class == DNSQuestion.internet || question.class == RecordType.any.rawValue else { return nil }
        if let labels = question.name.labels(within: self.domain) { return self.ownAnswer(labels, question) }
        for alias in self.aliases {
            guard let labels = question.name.labels(within: alias) else { continue }
            guard labels.count == 2, let service = self.service(labels) else { return nil }
            return self.answer(service, question.type, apex: alias)
        }
        if let address = ReverseName.address(of: question.name) { return self.reverse(address, question) }
        return nil
    }

    private func ownAnswer(_ labels: [ArraySlice<UInt8>], _ question: DNSQuestion) -> Answer {
        guard self.snapshot != nil else { return .unavailable }
        switch labels.count {
        case 0:
            guard question.type == .soa || question.type == .any else { return .noData(apex: self.domain) }
            return .records([Record(type: .soa, data: self.authority(of: self.domain))])
        case 1:
            // A namespace with services has names below it, so it exists.
            return self.namespaces.contains(String(decoding: labels[0], as: UTF8.self))
                ? .noData(apex: self.domain) : .nameError(apex: self.domain)
        case 2:
            guard let service = self.service(labels) else { return .nameError(apex: self.domain) }
            return self.answer(service, question.type, apex: self.domain)
        default:
            return .nameError(apex: self.domain)
        }
    }

    private func service(_ labels: [ArraySlice<UInt8>]) -> Service? {
        self.snapshot?.service(
            NamespacedName(
                namespace: String(decoding: labels[1], as: UTF8.self), name: String(decoding: labels[0], as: UTF8.self))
        )
    }

    private func answer(_ service: Service, _ type: RecordType, apex: DNSName) -> Answer {
        let addresses = service.addresses.isEmpty ? self.endpoints(of: service) : service.addresses
        let records = addresses.filter { address in
            type == .any || type == (address.isIPv4 ? .a : .aaaa)
        }.map { Record(type: $0.isIPv4 ? .a : .aaaa, data: $0.bytes) }
        return records.isEmpty ? .noData(apex: apex) : .records(records)
    }

    private func endpoints(of service: Service) -> [IPAddress] {
        let workloads = self.snapshot?.workloads(backing: service.id) ?? []
        return Array(workloads.filter(\.isHealthy).flatMap(\.addresses).shuffled().prefix(Self.maximumEndpoints))
    }

    private func reverse(_ address: IPAddress, _ question: DNSQuestion) -> Answer? {
        guard let service = self.snapshot?.service(at: address),
            let name = DNSName("\(service.id.name).\(service.id.namespace).\(self.domain)")
        else { return nil }
        guard question.type == .ptr || question.type == .any else { return .noData(apex: question.name) }
        return .records([Record(type: .ptr, data: name.wire)])
    }

    /// The data of a SOA record (RFC 1035 §3.3.13), whose last number says how long a name's absence may be remembered.
    package func authority(of apex: DNSName) -> [UInt8] {
        let label = Array("nodemesh".utf8)
        let server = DNSName(labels: [label] + apex.labels.map(Array.init)) ?? apex
        let numbers: [UInt32] = [1, 3600, 600, 86_400, self.timeToLive]
        return server.wire + server.wire
            + numbers.flatMap { number in (0..<4).map { UInt8(truncatingIfNeeded: number >> (24 - 8 * $0)) } }
    }

    /// The message that says so.
    package func message(_ answer: Answer, to query: DNSQuery, limit: Int) -> (bytes: [UInt8], code: ResponseCode) {
        var flags: MessageFlags = [.response, .authoritative, .recursionAvailable]
        if query.flags.contains(.recursionDesired) { flags.insert(.recursionDesired) }
        let edns = query.edns.map { EDNS(size: EDNS.safeSize, wantsSecurity: $0.wantsSecurity) }
        func empty(_ apex: DNSName, _ code: ResponseCode) -> [UInt8] {
            let flags = MessageFlags(rawValue: flags.rawValue | code.rawValue)
            var writer = MessageWriter(id: query.id, flags: flags, question: query.question)
            writer.add(
                .soa, name: apex, timeToLive: self.timeToLive, data: self.authority(of: apex), to: .authority)
            writer.add(edns)
            return writer.bytes
        }
        switch answer {
        case .records(let records):
            var writer = MessageWriter(id: query.id, flags: flags, question: query.question)
            for record in records { writer.add(record.type, timeToLive: self.timeToLive, data: record.data) }
            writer.add(edns)
            if writer.bytes.count <= limit { return (writer.bytes, .noError) }
            writer = MessageWriter(id: query.id, flags: flags.union(.truncated), question: query.question)
            writer.add(edns)
            return (writer.bytes, .noError)
        case .noData(let apex): return (empty(apex, .noError), .noError)
        case .nameError(let apex): return (empty(apex, .nameError), .nameError)
        case .unavailable: return (query.refusal(.serverFailure), .serverFailure)
        }
    }
}
