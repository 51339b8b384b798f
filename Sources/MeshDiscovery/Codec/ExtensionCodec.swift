// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAPI
import MeshModel
import SwiftProtobuf

// What services and workloads carry beyond the ecosystem's fields. It travels inside them, so that a change reaches
// exactly who receives them. Extensions of other control planes are left alone.

extension Istio_Workload_Extension {
    /// - Parameter message: one without maps, so that equal values give equal bytes.
    init(_ message: some Message) throws {
        self.init()
        self.name = type(of: message).protoMessageName
        self.config.typeURL = "type.googleapis.com/" + self.name
        self.config.value = try message.serializedData()
    }

    /// The one extension of this type; nil when there is none.
    static func find<Found: Message>(
        _ type: Found.Type, in extensions: [Istio_Workload_Extension]
    ) throws(ResourceError) -> Found? {
        let found = extensions.filter { $0.config.typeURL.split(separator: "/").last == type.protoMessageName[...] }
        guard let first = found.first else { return nil }
        guard found.count == 1 else {
            throw ResourceError("extensions", "name \(type.protoMessageName) \(found.count) times")
        }
        do {
            return try Found(serializedBytes: first.config.value)
        } catch {
            throw ResourceError("extensions", "hold a \(type.protoMessageName) that cannot be read")
        }
    }
}

extension Nodemesh_V1_DestinationPolicy {
    init(_ policy: DestinationPolicy) {
        self.init()
        if let value = policy.maxConnections { self.maxConnections = value }
        if let value = policy.maxPending { self.maxPending = value }
        if let value = policy.connectsPerSecond { self.connectsPerSecond = value }
        if let value = policy.connectTimeout { self.connectTimeoutMs = value.milliseconds }
        if let value = policy.outlierDetection {
            self.outlierDetection = .with {
                $0.consecutiveFailures = value.consecutiveFailures
                $0.baseEjectionTimeMs = value.baseEjectionTime.milliseconds
                $0.maxEjectionTimeMs = value.maxEjectionTime.milliseconds
                $0.maxEjectionPercent = value.maxEjectionPercent
            }
        }
    }
}

extension DestinationPolicy {
    init(_ message: Nodemesh_V1_DestinationPolicy) throws(ResourceError) {
        let place = "destination_policy"
        self.init()
        if message.hasMaxConnections {
            self.maxConnections = try Field.figure(message.maxConnections, "\(place).max_connections")
        }
        if message.hasMaxPending {
            self.maxPending = try Field.figure(message.maxPending, "\(place).max_pending")
        }
        if message.hasConnectsPerSecond {
            self.connectsPerSecond = try Field.figure(message.connectsPerSecond, "\(place).connects_per_second")
        }
        if message.hasConnectTimeoutMs {
            self.connectTimeout = try Field.milliseconds(message.connectTimeoutMs, "\(place).connect_timeout_ms")
        }
        if message.hasOutlierDetection {
            self.outlierDetection = try OutlierDetection(message.outlierDetection, "\(place).outlier_detection")
        }
    }
}

extension OutlierDetection {
    fileprivate init(
        _ message: Nodemesh_V1_DestinationPolicy.OutlierDetection, _ place: String
    ) throws(ResourceError) {
        self.init(
            consecutiveFailures: message.consecutiveFailures,
            baseEjectionTime: try Field.milliseconds(message.baseEjectionTimeMs, "\(place).base_ejection_time_ms"),
            maxEjectionTime: try Field.milliseconds(message.maxEjectionTimeMs, "\(place).max_ejection_time_ms"),
            maxEjectionPercent: try Field.figure(message.maxEjectionPercent, "\(place).max_ejection_percent"))
        guard self.maxEjectionPercent <= 100 else {
            throw ResourceError("\(place).max_ejection_percent", "\(self.maxEjectionPercent) is more than 100")
        }
        guard self.maxEjectionTime >= self.baseEjectionTime else {
            throw ResourceError("\(place).max_ejection_time_ms", "is shorter than base_ejection_time_ms")
        }
    }
}

extension Nodemesh_V1_WorkloadLimits {
    init(_ limits: WorkloadLimits) {
        self.init()
        if let value = limits.connectionsPerSecond { self.connectionsPerSecond = value }
        if let value = limits.handshakesPerSecond { self.handshakesPerSecond = value }
        if let value = limits.maxConnections { self.maxConnections = value }
        if let value = limits.bytesPerSecond { self.bytesPerSecond = value }
    }
}

extension WorkloadLimits {
    init(_ message: Nodemesh_V1_WorkloadLimits) throws(ResourceError) {
        let place = "workload_limits"
        self.init()
        if message.hasConnectionsPerSecond {
            self.connectionsPerSecond = try Field.figure(
                message.connectionsPerSecond, "\(place).connections_per_second")
        }
        if message.hasHandshakesPerSecond {
            self.handshakesPerSecond = try Field.figure(message.handshakesPerSecond, "\(place).handshakes_per_second")
        }
        if message.hasMaxConnections {
            self.maxConnections = try Field.figure(message.maxConnections, "\(place).max_connections")
        }
        if message.hasBytesPerSecond {
            self.bytesPerSecond = try Field.figure(message.bytesPerSecond, "\(place).bytes_per_second")
        }
    }
}

extension Field {
    /// A limit that lets something through.
    fileprivate static func figure<Number: UnsignedInteger>(
        _ value: Number, _ field: String
    ) throws(ResourceError) -> Number {
        guard value > 0 else { throw ResourceError(field, "0 would let nothing through") }
        return value
    }

    /// From a millisecond to a day.
    fileprivate static func milliseconds(_ value: UInt64, _ field: String) throws(ResourceError) -> Duration {
        guard (1...86_400_000).contains(value) else {
            throw ResourceError(field, "\(value) is not from 1 to 86400000")
        }
        return .milliseconds(Int64(value))
    }
}

extension Duration {
    /// Of a time that is not negative, rounded down.
    fileprivate var milliseconds: UInt64 {
        let (seconds, attoseconds) = self.components
        return UInt64(max(0, seconds)) * 1000 + UInt64(max(0, attoseconds) / 1_000_000_000_000_000)
    }
}
