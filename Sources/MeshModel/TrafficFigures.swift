// SPDX-License-Identifier: Apache-2.0

// Traffic policy as people read it: by the names of the fields that declare it, without what is not limited.

extension LoadBalancing {
    /// Empty: every endpoint alike.
    package var figures: [String: String] {
        if self.mode == .any { return [:] }
        let scopes = self.preference.map(\.rawValue).joined(separator: "/")
        return [self.mode == .strict ? "only" : "prefer": scopes]
    }
}

extension DestinationPolicy {
    package var figures: [String: String] {
        var result: [String: String] = [:]
        result["maxConnections"] = self.maxConnections.map { "\($0)" }
        result["maxPending"] = self.maxPending.map { "\($0)" }
        result["connectsPerSecond"] = self.connectsPerSecond.map { "\($0)" }
        result["connectTimeout"] = self.connectTimeout?.shortText
        if let detection = self.outlierDetection, detection.consecutiveFailures == 0 {
            result["ejectAfter"] = "never"
        } else if let detection = self.outlierDetection {
            result["ejectAfter"] = "\(detection.consecutiveFailures)"
            result["ejectFor"] = "\(detection.baseEjectionTime.shortText)..\(detection.maxEjectionTime.shortText)"
            result["ejectAtMost"] = "\(detection.maxEjectionPercent)%"
        }
        return result
    }
}

extension WorkloadLimits {
    package var figures: [String: String] {
        var result: [String: String] = [:]
        result["connectionsPerSecond"] = self.connectionsPerSecond.map { "\($0)" }
        result["handshakesPerSecond"] = self.handshakesPerSecond.map { "\($0)" }
        result["maxConnections"] = self.maxConnections.map { "\($0)" }
        result["bytesPerSecond"] = self.bytesPerSecond.map { "\($0)" }
        return result
    }
}

extension Service {
    /// How clients choose and limit; empty: nothing is declared.
    package var trafficFigures: [String: String] {
        self.loadBalancing.figures.merging(self.policy?.figures ?? [:]) { first, _ in first }
    }
}

extension Duration {
    /// `30s` or, where it is no whole number of seconds, `250ms`.
    fileprivate var shortText: String {
        let (seconds, attoseconds) = self.components
        let milliseconds = attoseconds / 1_000_000_000_000_000
        return milliseconds == 0 ? "\(seconds)s" : "\(seconds * 1000 + milliseconds)ms"
    }
}
