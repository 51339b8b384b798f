// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI

/// What a node's daemon and connections had used and carried at one time.
struct TrafficSample: Sendable {
    var usage: UsageSummary
    var connections: [ConnectionSummary]

    static func take(from client: APIClient) async throws(CLIError) -> Self {
        Self(
            usage: try client.decode(UsageSummary.self, from: try await client.get("/v1/usage")),
            connections: try client.decode([ConnectionSummary].self, from: try await client.get("/v1/connections")))
    }

    /// What happened since an earlier one. Of connections that have ended in between, the last bytes are not known.
    func traffic(since earlier: Self) -> TrafficSummary {
        // Another daemon has begun to count anew.
        let isSame = earlier.usage.pid == self.usage.pid && self.usage.cpuSeconds >= earlier.usage.cpuSeconds
        let seconds = max(0.001, self.usage.clockSeconds - earlier.usage.clockSeconds)
        let before = Dictionary(earlier.connections.map { ($0.id, $0) }) { first, _ in first }
        var pairs: [TrafficSummary.Pair.Key: TrafficSummary.Pair] = [:]
        for connection in self.connections {
            let key = TrafficSummary.Pair.Key(connection)
            var pair = pairs[key] ?? TrafficSummary.Pair(key)
            let old = before[connection.id]
            pair.connections += 1
            // What was open before the first look and is new here has carried its bytes at an unknown time.
            if old != nil || connection.ageSeconds <= seconds {
                pair.sentPerSecond += Self.rate(connection.bytesSent, old?.bytesSent ?? 0, seconds)
                pair.receivedPerSecond += Self.rate(connection.bytesReceived, old?.bytesReceived ?? 0, seconds)
            }
            pair.bytesSent &+= connection.bytesSent
            pair.bytesReceived &+= connection.bytesReceived
            pairs[key] = pair
        }
        let loops = Dictionary(earlier.usage.loops.map { ($0.name, $0.cpuSeconds) }) { first, _ in first }
        func percent(_ now: Double, _ old: Double) -> Double { isSame ? max(0, (now - old) / seconds * 100) : 0 }
        return TrafficSummary(
            node: self.usage.node, seconds: seconds,
            cpuPercent: percent(self.usage.cpuSeconds, earlier.usage.cpuSeconds),
            memoryBytes: self.usage.memoryBytes, descriptors: self.usage.descriptors,
            loops: self.usage.loops.map {
                .init(name: $0.name, cpuPercent: percent($0.cpuSeconds, loops[$0.name] ?? $0.cpuSeconds))
            }, pairs: Array(pairs.values))
    }

    private static func rate(_ now: UInt64, _ old: UInt64, _ seconds: Double) -> Double {
        now > old ? Double(now - old) / seconds : 0
    }
}
