// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import MeshModel
import Synchronization

/// What this node has seen of the endpoints it uses, kept from view to view. A loop looks its service up once in each
/// view; choosing then reads atomics only.
final class EndpointTable: Sendable {
    struct Key: Hashable {
        var service: NamespacedName
        var port: UInt16
        var workload: WorkloadID
        /// A workload that comes back with another one is another endpoint.
        var address: SocketAddress
    }

    private struct State {
        var services: [NamespacedName: ServiceState] = [:]
        var endpoints: [Key: EndpointState] = [:]
        /// By node.
        var paths: [String: PathState] = [:]
        /// Endpoints that another data plane has set aside, until this one uses them.
        var adopted: [Key: CarriedEjection] = [:]
    }

    private let state = Mutex(State())

    /// The states of a set's endpoints, made where there are none.
    func bind(_ set: EndpointSet) -> BoundService {
        self.state.withLock { state in
            let service = state.services[set.service] ?? ServiceState()
            state.services[set.service] = service
            service.update(set)
            let endpoints = set.endpoints.map { endpoint in
                let key = Key(
                    service: set.service, port: set.port, workload: endpoint.workload.id, address: endpoint.address)
                if let known = state.endpoints[key] { return known }
                let path: PathState
                if case .tunnel(let node) = endpoint.path {
                    path = state.paths[node.name] ?? PathState()
                    state.paths[node.name] = path
                } else {
                    path = PathState()
                }
                let new = EndpointState(key: key, service: service, path: path)
                state.endpoints[key] = new
                if let ejection = state.adopted.removeValue(forKey: key) { new.adopt(ejection) }
                return new
            }
            return BoundService(set: set, state: service, endpoints: endpoints)
        }
    }

    /// Forgets what a new view does not have any more. Connections keep what they use.
    func prune(_ snapshot: MeshSnapshot) {
        self.state.withLock { state in
            for (key, endpoint) in state.endpoints
            where !Self.isCurrent(key, snapshot) {
                endpoint.service.forget(key)
                state.endpoints[key] = nil
            }
            for (name, service) in state.services
            where snapshot.service(name) == nil && service.breaker.counts.open == 0 {
                state.services[name] = nil
            }
            // Who has not come up again by now is not what it was.
            let now = Clock.monotonic
            state.adopted = state.adopted.filter { $0.value.until > now }
            for name in state.paths.keys where snapshot.node(name) == nil { state.paths[name] = nil }
        }
    }

    private static func isCurrent(_ key: Key, _ snapshot: MeshSnapshot) -> Bool {
        guard snapshot.service(key.service) != nil, let workload = snapshot.workload(key.workload),
            workload.addresses.contains(key.address.ip), let ports = workload.services[key.service]
        else { return false }
        return ports.contains { $0.servicePort == key.port && $0.targetPort == key.address.port }
    }

    // MARK: - Handing over

    /// What another data plane has set aside is so here too.
    func adopt(_ ejections: [CarriedEjection]) {
        self.state.withLock { state in
            for ejection in ejections { state.adopted[ejection.key] = ejection }
        }
    }

    func carried(now: UInt64) -> [CarriedEjection] {
        self.state.withLock { state in
            let seen = state.endpoints.values.compactMap { endpoint in
                endpoint.ejection(now: now).map {
                    CarriedEjection(key: endpoint.key, until: $0.until, times: $0.times)
                }
            }
            return seen + state.adopted.values.filter { $0.until > now }
        }
    }

    // MARK: - Asking

    /// The endpoints that are set aside.
    func ejections(now: UInt64) -> [EndpointEjection] {
        self.state.withLock { Array($0.endpoints.values) }.compactMap { endpoint in
            endpoint.ejection(now: now).map {
                EndpointEjection(
                    service: endpoint.key.service, port: endpoint.key.port, workload: endpoint.key.workload,
                    address: endpoint.key.address, nanosecondsLeft: $0.until - now, times: $0.times)
            }
        }
    }

    /// For each service: connections open, those of them being made, and endpoints set aside since start.
    func services() -> [NamespacedName: (open: Int, pending: Int, ejections: UInt64)] {
        self.state.withLock { $0.services }.mapValues { service in
            let counts = service.breaker.counts
            return (counts.open, counts.pending, service.ejections.load(ordering: .relaxed))
        }
    }
}
