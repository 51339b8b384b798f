// SPDX-License-Identifier: Apache-2.0

/// How clients treat a service: limits of what one node opens to it, and when an endpoint is set aside. nil: no limit.
package struct DestinationPolicy: Hashable, Sendable {
    /// Connections of one node to the service that are open or being made.
    package var maxConnections: UInt32?
    /// Connections of one node to the service that are being made.
    package var maxPending: UInt32?
    /// New connections of one node to the service per second, as a token bucket of that size.
    package var connectsPerSecond: UInt32?
    /// Time for connect(2); nil: the node's own setting.
    package var connectTimeout: Duration?
    package var outlierDetection: OutlierDetection?

    package init(
        maxConnections: UInt32? = nil, maxPending: UInt32? = nil, connectsPerSecond: UInt32? = nil,
        connectTimeout: Duration? = nil, outlierDetection: OutlierDetection? = nil
    ) {
        self.maxConnections = maxConnections
        self.maxPending = maxPending
        self.connectsPerSecond = connectsPerSecond
        self.connectTimeout = connectTimeout
        self.outlierDetection = outlierDetection
    }
}

/// When an endpoint that fails is set aside, and how it comes back.
package struct OutlierDetection: Hashable, Sendable {
    /// Failures in a row (refused, timed out, reset before a byte of the answer) that set it aside; 0: never.
    package var consecutiveFailures: UInt32
    /// The first time it is set aside for this long, the n-th time n times as long.
    package var baseEjectionTime: Duration
    package var maxEjectionTime: Duration
    /// The share of a service's endpoints that may be set aside at one time, in percent; one always may.
    package var maxEjectionPercent: UInt32

    /// What holds for services whose policy does not declare it. It costs nobody a connection: an endpoint that is set
    /// aside is still used when there is no other.
    package static let unlessDeclared = OutlierDetection(
        consecutiveFailures: 5, baseEjectionTime: .seconds(10), maxEjectionTime: .seconds(300), maxEjectionPercent: 50)

    package init(
        consecutiveFailures: UInt32 = 5, baseEjectionTime: Duration = .seconds(30),
        maxEjectionTime: Duration = .seconds(300), maxEjectionPercent: UInt32 = 10
    ) {
        self.consecutiveFailures = consecutiveFailures
        self.baseEjectionTime = baseEjectionTime
        self.maxEjectionTime = maxEjectionTime
        self.maxEjectionPercent = maxEjectionPercent
    }
}
