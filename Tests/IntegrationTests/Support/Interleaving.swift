// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Things that happen to a lab in an order that a seed determines.
struct Interleaving {
    private let lab: Lab
    private var random: SplitMix64
    private var down: [String: Date] = [:]
    private var isLateEnrolled = false
    private var isDenied = false
    private var hasService = false
    /// What happened, in order.
    private(set) var history: [String] = []
    /// When the client's daemon was not there, with the second before in which its last log lines may have been lost.
    private(set) var absences: [ClosedRange<Date>] = []

    private static let deny = """
        apiVersion: security.istio.io/v1
        kind: AuthorizationPolicy
        metadata: {name: random-deny, namespace: shop}
        spec:
          action: DENY
          rules: [{from: [{source: {principals: ["mesh.internal/ns/shop/sa/alice"]}}]}]
        """
    private static let service = """
        apiVersion: v1
        kind: Service
        metadata: {name: random, namespace: shop}
        spec:
          selector: {app: far}
          ports: [{port: 80, targetPort: 7000}]
        """

    init(lab: Lab, seed: UInt64) {
        self.lab = lab
        self.random = SplitMix64(state: seed)
    }

    /// How many attempts to let pass before the next.
    mutating func pause() -> Int { Int.random(in: 0..<40, using: &self.random) }

    /// Lets one thing happen that can happen now.
    mutating func next() throws {
        var possible = ["deny", "service"]
        for node in ["n1", "n2"] { possible.append((self.down[node] == nil ? "kill " : "start ") + node) }
        // Somebody's enrolment waits until both nodes agree.
        if self.down.isEmpty { possible += ["late", "late", "crash far", "crash near"] }
        try self.happen(possible[Int.random(in: 0..<possible.count, using: &self.random)])
    }

    /// Everything there again that was taken away.
    mutating func settle() throws {
        for node in self.down.keys.sorted() { try self.happen("start \(node)") }
        if self.isDenied { try self.happen("deny") }
        if self.isLateEnrolled { try self.happen("late") }
    }

    private mutating func happen(_ event: String) throws {
        self.history.append(event)
        let words = event.split(separator: " ").map(String.init)
        switch words[0] {
        case "kill":
            self.down[words[1]] = Date(timeIntervalSinceNow: -1)
            try self.lab.run("kill", words[1], "-9")
        case "start":
            try self.lab.run("start", words[1])
            if let since = self.down.removeValue(forKey: words[1]), words[1] == "n1" {
                self.absences.append(since...Date())
            }
        case "crash":
            try self.lab.run("kill", words[1], "-9")
            try self.lab.run("start", words[1])
        case "late":
            try self.lab.run(self.isLateEnrolled ? "unenrol" : "enrol", "late")
            self.isLateEnrolled.toggle()
        case "deny":
            if self.isDenied { try self.lab.delete(Self.deny) } else { try self.lab.apply(Self.deny) }
            self.isDenied.toggle()
        default:
            if self.hasService { try self.lab.delete(Self.service) } else { try self.lab.apply(Self.service) }
            self.hasService.toggle()
        }
    }
}

/// A generator whose sequence follows from its state (Steele, Lea and Flood: Fast Splittable Pseudorandom Number
/// Generators, 2014).
struct SplitMix64: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        self.state &+= 0x9e37_79b9_7f4a_7c15
        var value = self.state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }
}
