// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// What `top` sorts by; the most come first, and names in the order of the alphabet.
package enum TrafficOrder: String, ExpressibleByArgument, CaseIterable, Sendable {
    case rate, sent, received, connections, bytes, name

    func sorted(_ pairs: [TrafficSummary.Pair]) -> [TrafficSummary.Pair] {
        pairs.sorted { left, right in
            let (first, second) = (self.weight(of: left), self.weight(of: right))
            if first != second { return first > second }
            return (left.source, left.destination, left.direction) < (right.source, right.destination, right.direction)
        }
    }

    private func weight(of pair: TrafficSummary.Pair) -> Double {
        switch self {
        case .rate: pair.sentPerSecond + pair.receivedPerSecond
        case .sent: pair.sentPerSecond
        case .received: pair.receivedPerSecond
        case .connections: Double(pair.connections)
        case .bytes: Double(pair.bytesSent &+ pair.bytesReceived)
        case .name: 0
        }
    }
}
