// SPDX-License-Identifier: Apache-2.0

/// `GET /v1/dns` of a node.
package struct DNSStatus: Codable, Sendable, Hashable {
    package struct Workload: Codable, Sendable, Hashable {
        /// `namespace/name`.
        package var workload: String
        /// Why its names are not answered; nil: they are.
        package var problem: String?

        package init(workload: String, problem: String?) {
            self.workload = workload
            self.problem = problem
        }
    }

    package var isOn: Bool
    package var domain: String
    package var aliases: [String]
    /// The node's own resolvers.
    package var upstreams: [String]
    /// Resolvers, the workloads' own among them, that have not answered lately.
    package var down: [String]
    package var cacheEntries: Int
    package var cacheCapacity: Int
    /// Queries that wait for a resolver.
    package var waiting: Int
    /// Those whose names are to be answered.
    package var workloads: [Workload]

    package init(
        isOn: Bool, domain: String, aliases: [String], upstreams: [String], down: [String], cacheEntries: Int,
        cacheCapacity: Int, waiting: Int, workloads: [Workload]
    ) {
        self.isOn = isOn
        self.domain = domain
        self.aliases = aliases
        self.upstreams = upstreams
        self.down = down
        self.cacheEntries = cacheEntries
        self.cacheCapacity = cacheCapacity
        self.waiting = waiting
        self.workloads = workloads
    }
}

/// `GET /v1/dns/lookup?name=NAME[&type=TYPE][&workload=NAMESPACE/NAME[&resolver=ADDRESS]]` of a node.
package struct DNSLookup: Codable, Sendable, Hashable {
    package struct Record: Codable, Sendable, Hashable {
        package var name: String
        package var type: String
        package var timeToLive: UInt32
        package var data: String

        package init(name: String, type: String, timeToLive: UInt32, data: String) {
            self.name = name
            self.type = type
            self.timeToLive = timeToLive
            self.data = data
        }
    }

    package var name: String
    package var type: String
    /// `noerror`, `nodata`, `nxdomain`, `servfail` and so on.
    package var result: String
    /// `local`, `cache`, `upstream`, `stale` or `none`.
    package var source: String
    package var milliseconds: Double
    package var records: [Record]

    package init(
        name: String, type: String, result: String, source: String, milliseconds: Double, records: [Record]
    ) {
        self.name = name
        self.type = type
        self.result = result
        self.source = source
        self.milliseconds = milliseconds
        self.records = records
    }
}
