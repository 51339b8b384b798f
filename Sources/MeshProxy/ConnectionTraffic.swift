// SPDX-License-Identifier: Apache-2.0

/// What a connection holds of limits and counts; all of it is given back exactly once, when it ends.
struct ConnectionTraffic {
    /// Where it goes, for a service.
    var endpoint: EndpointState?
    /// Counts it among its connections.
    var service: ServiceState?
    /// The local workload's, and the destination's where that is local too.
    var usage: WorkloadUsage?
    var destinationUsage: WorkloadUsage?
    /// Nanoseconds of the monotonic clock until which it moves no bytes; 0: it does.
    var pausedUntil: UInt64 = 0
    /// The workload's place in the counts of lent buffers and pipes; 0: nobody's.
    var owner: UInt16 = 0
    /// There are other endpoints, so it matters how fast this one is.
    var isObserved = false
    /// Its service counts it as one that is being made.
    var isPending = false
}
