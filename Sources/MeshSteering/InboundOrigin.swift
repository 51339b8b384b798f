// SPDX-License-Identifier: Apache-2.0

/// For whom a connection is that was steered to an inbound listener, and perhaps of whom.
package struct InboundOrigin: Hashable, Sendable {
    /// ``Enrolment/key`` of the workload that was dialled.
    package let workloadKey: UInt32
    /// ``Enrolment/key`` of the workload that dialled; nil unless it shares the namespace.
    package let sourceKey: UInt32?

    package init(workloadKey: UInt32, sourceKey: UInt32?) {
        self.workloadKey = workloadKey
        self.sourceKey = sourceKey
    }
}
