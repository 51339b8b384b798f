// SPDX-License-Identifier: Apache-2.0

/// `GET /v1/usage` of a node: what nodemeshd itself uses.
package struct UsageSummary: Codable, Sendable, Hashable {
    package struct Thread: Codable, Sendable, Hashable {
        package var name: String
        /// On a processor since it began.
        package var cpuSeconds: Double

        package init(name: String, cpuSeconds: Double) {
            self.name = name
            self.cpuSeconds = cpuSeconds
        }
    }

    package var node: String
    package var pid: Int32
    /// A clock that only goes forward; differences of it are what counts.
    package var clockSeconds: Double
    package var cpuSeconds: Double
    package var memoryBytes: UInt64
    package var descriptors: Int
    /// The event loops of the data plane.
    package var loops: [Thread]

    package init(
        node: String, pid: Int32, clockSeconds: Double, cpuSeconds: Double, memoryBytes: UInt64, descriptors: Int,
        loops: [Thread]
    ) {
        self.node = node
        self.pid = pid
        self.clockSeconds = clockSeconds
        self.cpuSeconds = cpuSeconds
        self.memoryBytes = memoryBytes
        self.descriptors = descriptors
        self.loops = loops
    }
}
