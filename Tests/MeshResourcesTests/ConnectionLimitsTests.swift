// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import MeshModel
import MeshResources
import Testing

@Suite struct ConnectionLimitsTests {
    private static let version = "nodemesh.io/v1"

    private func make(_ spec: String) throws -> ConnectionLimitsResource {
        guard
            case .connectionLimits(let limits) = try resources(
                document("ConnectionLimits", Self.version, spec: spec)
            ).first
        else { throw InvalidResources(problems: []) }
        return limits
    }

    @Test func limitsOfAServiceAreRead() throws {
        let limits = try self.make(
            """
            targetRef: {kind: Service, name: api}
            destination: {maxConnections: 10, maxPending: 5, connectsPerSecond: 100}
            """)
        #expect(limits.service == NamespacedName(namespace: "shop", name: "api"))
        #expect(limits.policy == DestinationPolicy(maxConnections: 10, maxPending: 5, connectsPerSecond: 100))
        #expect(limits.limits == WorkloadLimits())
    }

    @Test func limitsOfWorkloadsAreRead() throws {
        let limits = try self.make(
            """
            selector: {matchLabels: {app: batch}}
            workload: {connectionsPerSecond: 1, handshakesPerSecond: 2, maxConnections: 3, bytesPerSecond: 10Mi}
            """)
        #expect(limits.service == nil)
        #expect(limits.spec.selector?.matchLabels == ["app": "batch"])
        #expect(
            limits.limits
                == WorkloadLimits(
                    connectionsPerSecond: 1, handshakesPerSecond: 2, maxConnections: 3, bytesPerSecond: 10 << 20))
    }

    @Test func aTargetMayNameTheCoreGroup() throws {
        let limits = try self.make("targetRef: {group: \"\", kind: Service, name: a}\ndestination: {maxPending: 1}")
        #expect(limits.service?.name == "a")
    }

    @Test(arguments: [
        ("{}", "spec", "say what is limited"),
        ("{selector: {}}", "spec", "say what is limited"),
        ("{destination: {maxPending: 1}}", "spec.targetRef", "required"),
        ("{destination: {maxPending: 1}, workload: {maxConnections: 1}}", "spec", "make two"),
        ("{targetRef: {kind: Service, name: a}, workload: {maxConnections: 1}}", "spec.targetRef", "selector"),
        (
            "{targetRef: {kind: Service, name: a}, destination: {maxPending: 1}, selector: {}}", "spec.selector",
            "goes with workload"
        ),
        ("{targetRef: {kind: Gateway, name: a}, destination: {maxPending: 1}}", "spec.targetRef.kind", "Service"),
        ("{targetRef: {name: a}, destination: {maxPending: 1}}", "spec.targetRef.kind", "required"),
        ("{targetRef: {kind: Service}, destination: {maxPending: 1}}", "spec.targetRef.name", "required"),
        ("{targetRef: {kind: Service, name: A}, destination: {maxPending: 1}}", "spec.targetRef.name", "valid name"),
        (
            "{targetRef: {kind: Service, name: a, namespace: b}, destination: {maxPending: 1}}",
            "spec.targetRef.namespace", "leave it out"
        ),
        (
            "{targetRef: {group: apps, kind: Service, name: a}, destination: {maxPending: 1}}", "spec.targetRef.group",
            "leave it out"
        ),
        ("{targetRef: {kind: Service, name: a}, destination: {}}", "spec.destination", "maxPending"),
        (
            "{targetRef: {kind: Service, name: a}, destination: {maxPending: 0}}", "spec.destination.maxPending",
            "from 1"
        ),
        (
            "{targetRef: {kind: Service, name: a}, destination: {bytesPerSecond: 1}}",
            "spec.destination.bytesPerSecond", "unknown field"
        ),
        ("{workload: {}}", "spec.workload", "bytesPerSecond"),
        ("{workload: {maxConnections: -1}}", "spec.workload.maxConnections", "from 1"),
        ("{workload: {maxConnections: 4294967296}}", "spec.workload.maxConnections", "4294967295"),
        ("{workload: {bytesPerSecond: 10MB}}", "spec.workload.bytesPerSecond", "such as 500, 10M"),
        ("{workload: {bytesPerSecond: 0}}", "spec.workload.bytesPerSecond", "above 0"),
        ("{workload: {bytesPerSecond: [1]}}", "spec.workload.bytesPerSecond", "a list"),
        ("{workload: {maxPending: 1}}", "spec.workload.maxPending", "unknown field"),
        (
            "{workload: {maxConnections: 1}, selector: {matchExpressions: []}}", "spec.selector.matchExpressions",
            "matchLabels"
        ),
        ("{workload: {maxConnections: 1}, other: 1}", "spec.other", "unknown field"),
    ])
    func isRefused(_ spec: String, _ path: String, _ reason: String) {
        let found = problems(document("ConnectionLimits", Self.version, spec: spec))
        #expect(found.contains { $0.path == path && $0.reason.contains(reason) && $0.line != nil }, "\(found)")
    }

    @Test func aSpecIsRequired() {
        let text = "{apiVersion: nodemesh.io/v1, kind: ConnectionLimits, metadata: {name: it}}"
        #expect(problems(text).contains { $0.path == "spec" && $0.reason.contains("required") })
    }

    @Test(arguments: [
        ("1", 1), ("500", 500), ("1k", 1000), ("10M", 10_000_000), ("1Gi", 1 << 30), ("2Ki", 2048), ("3Mi", 3 << 20),
        ("1T", 1_000_000_000_000), ("4095Pi", 4095 << 50),
    ])
    func quantities(_ text: String, _ value: UInt64) {
        #expect(Measure.quantity(text) == value)
    }

    @Test(arguments: [
        "", "0", "-1", "1.5G", "1K", "1mi", "M", "1 M", "1e3", "9999999999999999999", "8192Pi", "+1", "１",
    ])
    func quantitiesThatAreNone(_ text: String) {
        #expect(Measure.quantity(text) == nil)
    }

    @Test(arguments: [
        ("1ms", Duration.milliseconds(1)), ("30s", .seconds(30)), ("1m", .seconds(60)), ("1h30m", .seconds(5400)),
        ("24h", .seconds(86400)), ("1s500ms", .milliseconds(1500)),
    ])
    func durations(_ text: String, _ value: Duration) {
        #expect(Measure.duration(text) == value)
    }

    @Test(arguments: [
        "", "0s", "5", "s", "-1s", "1.5s", "1d", "1us", "25h", "99999999999h", "999999999h999999999h", "1s 1s",
    ])
    func durationsThatAreNone(_ text: String) {
        #expect(Measure.duration(text) == nil)
    }
}
