// SPDX-License-Identifier: Apache-2.0

import Glibc
import Logging
import MeshConfiguration
import MeshLinux
import MeshProxy
import Testing

@testable import MeshAgent

/// What starts find in the service manager's store when those before them have ended in the middle.
@Suite(.serialized) struct ArrivalTests {
    private let configuration = AgentConfiguration(node: "n1")
    private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    /// A state of nothing: magic number, version, the record that ends it.
    private static let state: [UInt8] = [0x6e, 0x73, 0x74, 0x61, 0x74, 0x65, 0x31, 0x0a, 1, 0, 255, 0, 0, 0, 0]

    /// A parcel as the store holds it.
    private func stored() throws -> Parcel {
        let label = HandOverLabel(
            kind: .restart, format: 1, version: "1", node: "n1", instance: self.configuration.instance, frozenAt: 1,
            carried: 3, tunnels: 0, listeners: 0, drained: [:])
        let pipe = try Pipe(capacity: 4096).release()
        defer {
            Linux.close(pipe.read)
            Linux.close(pipe.write)
        }
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.state.count, alignment: 8)
        defer { bytes.deallocate() }
        bytes.copyBytes(from: Self.state)
        return try Parcel.pack(label: label.encoded(), UnsafeRawBufferPointer(bytes), [pipe.read])
    }

    /// A start of the daemon, which is passed copies of what the store holds.
    private func start(_ parcel: borrowing Parcel, begun: Int = 0) throws -> Arrival {
        let names = StateStore.Shelf.state.parts + Array(repeating: StateStore.begun, count: begun)
        let sources = [parcel.memory.raw, parcel.reader.raw, parcel.writer.raw]
        // In a row where nobody else's are: tests beside this one have hundreds open, from the lowest number on.
        let base = CInt(min(ProcessLimits.raiseDescriptorLimit(), 60_000)) - 256
        for offset in names.indices {
            #expect(dup2(offset < 3 ? sources[offset] : sources[0], base + CInt(offset)) >= 0)
        }
        let environment = [
            "LISTEN_PID": "7", "LISTEN_FDS": "\(names.count)", "LISTEN_FDNAMES": names.joined(separator: ":"),
        ]
        return Arrival(
            self.configuration, environment, InheritedDescriptors(environment: environment, pid: 7, first: base),
            logger: self.logger)
    }

    /// What a start receives, as the number that stands on its label.
    private func carried(_ arrival: inout Arrival, _ manager: ServiceManager? = nil) throws -> Int? {
        guard let inheritance = try arrival.receive(manager) else { return nil }
        return inheritance.label.carried
    }

    @Test func `a start that ends before it runs leaves everything to the next one`() throws {
        let parcel = try self.stored()
        for _ in 0..<3 {
            var start = try self.start(parcel)
            #expect(try self.carried(&start) == 3)
        }
        var last = try self.start(parcel)
        #expect(try self.carried(&last) == 3)
        // It runs: what was stored is out of date, and must not be started from once more.
        let nothing = UnsafeRawBufferPointer(start: nil, count: 0)
        last.willRun(ProxyState(bytes: nothing, descriptors: []), nil, nil)
        var next = try self.start(parcel)
        #expect(try self.carried(&next) == nil)
    }

    @Test func `what starts die of again and again is given up`() throws {
        let parcel = try self.stored()
        // Nobody listens there: a start that cannot be counted is made all the same.
        let manager = try #require(ServiceManager(environment: ["NOTIFY_SOCKET": "@nodemesh-nobody-\(getpid())"]))
        var fifth = try self.start(parcel, begun: 4)
        #expect(try self.carried(&fifth, manager) == 3)
        var sixth = try self.start(parcel, begun: 5)
        #expect(try self.carried(&sixth, manager) == nil)
    }
}
