// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshAdminAPI
import MeshModel

/// How a workload's connections are steered.
package struct SteeringOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A destination port that is never captured; repeat it. (default: none)", valueName: "port"),
        transform: Values.port)
    package var excludePort: [UInt16] = []

    @Option(
        help: ArgumentHelp(
            "A port of its own whose connections are left alone; repeat it. (default: none)", valueName: "port"),
        transform: Values.port)
    package var excludeInboundPort: [UInt16] = []

    @Option(
        help: ArgumentHelp(
            "Destinations that are never captured, such as 10.1.0.0/16; repeat it. (default: none)", valueName: "cidr"),
        transform: Values.prefix)
    package var excludeCidr: [IPPrefix] = []

    @Option(
        help: ArgumentHelp(
            "What happens to its captured traffic while nodemeshd is down: closed, it is refused; open, it is left "
                + "alone, in clear text. (default: the node's failMode)", valueName: "closed|open"))
    package var failMode: FailMode?

    @Flag(
        help: "Answer SO_ORIGINAL_DST on captured connections; slows each getsockopt(2) a little. (default: no answer)")
    package var originalDst = false

    @Option(
        help: ArgumentHelp(
            "sockmap: connections with workloads of this node that say the same pass TCP by. Has limits that "
                + "programs must bear, see the README. (default: none)", valueName: "sockmap"))
    package var accelerate: Acceleration?

    @Option(
        help: ArgumentHelp(
            "off: its names are asked of its own resolvers, as if nodemesh were not there; for DNS servers that answer "
                + "others. (default: as the node's dns)", valueName: "off"))
    package var dns: Names?

    package init() {}

    func fill(_ request: inout EnrolRequest) {
        request.excludedOutboundPorts = self.excludePort.isEmpty ? nil : self.excludePort
        request.excludedInboundPorts = self.excludeInboundPort.isEmpty ? nil : self.excludeInboundPort
        request.excludedPrefixes = self.excludeCidr.isEmpty ? nil : self.excludeCidr.map(\.description)
        request.failMode = self.failMode?.rawValue
        request.answersOriginalDestination = self.originalDst ? true : nil
        request.accelerate = self.accelerate?.rawValue
        request.dns = self.dns?.rawValue
    }

    package enum Names: String, ExpressibleByArgument, CaseIterable, Sendable { case off }

    package enum Acceleration: String, ExpressibleByArgument, CaseIterable, Sendable { case sockmap }

    package enum FailMode: String, ExpressibleByArgument, CaseIterable, Sendable { case closed, open }
}
