// SPDX-License-Identifier: Apache-2.0
import MeshTunnel

/// An endpoint that is set aside, on its way to another data plane.
struct CarriedEjection: Equatable, Sendable {
    var key: EndpointTable.Key
    /// Nanoseconds of the monotonic clock, which all processes of a host share.
    var until: UInt64
    /// As ``EndpointHealth/ejections``.
    var times: UInt64
}

extension CarriedEjection {
    func write(to writer: inout StateWriter) {
        writer.put(name: self.key.service)
        writer.put(self.key.port)
        writer.put(name: self.key.workload)
        writer.put(address: self.key.address)
        writer.put(self.until)
        writer.put(self.times)
    }

    init(from reader: inout StateReader) throws(StateError) {
        self.key = EndpointTable.Key(
            service: try StateReader.name(&reader), port: try reader.integer(), workload: try StateReader.name(&reader),
            address: try StateReader.address(&reader))
        self.until = try reader.count()
        self.times = try reader.count()
    }
}
