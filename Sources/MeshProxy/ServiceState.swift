// SPDX-License-Identifier: Apache-2.0
import MeshModel
import Synchronization

/// One service, as all loops see it.
final class ServiceState: Sendable {
    private struct Shared {
        var policy = OutlierDetection.unlessDeclared
        /// By port: how many endpoints it has, and which of them are set aside.
        var ports: [UInt16: (total: Int, list: EjectionList)] = [:]
    }

    let breaker = CircuitBreaker()
    /// Endpoints that were set aside since start.
    let ejections = Atomic<UInt64>(0)
    private let shared = Mutex(Shared())

    var outlierDetection: OutlierDetection { self.shared.withLock { $0.policy } }

    /// What a new view says.
    func update(_ set: EndpointSet) {
        self.shared.withLock { shared in
            shared.policy = set.policy?.outlierDetection ?? .unlessDeclared
            shared.ports[set.port, default: (0, EjectionList())].total = set.endpoints.count
        }
    }

    func mayEject(_ key: EndpointTable.Key, _ policy: OutlierDetection, now: UInt64) -> Bool {
        self.shared.withLock { shared in
            guard var port = shared.ports[key.port] else { return false }
            defer { shared.ports[key.port] = port }
            return port.list.mayEject(of: port.total, policy, now: now)
        }
    }

    func ejected(_ key: EndpointTable.Key, until: UInt64) {
        self.ejections.wrappingAdd(1, ordering: .relaxed)
        self.shared.withLock { $0.ports[key.port]?.list.add(key, until: until) }
    }

    func forget(_ key: EndpointTable.Key) {
        self.shared.withLock { $0.ports[key.port]?.list.remove(key) }
    }
}
