// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import MeshTunnel

/// One socket of a connection on its way to another data plane, with the bytes that were read from it and have not left
/// for the other side.
struct CarriedSide {
    /// -1: none, or given away.
    var descriptor: CInt = -1
    var flags: Side.Flags = []
    /// Payload that the other side took.
    var bytes: UInt64 = 0
    /// What a ``Block`` held, by kind: to be sent as it is; opened content; records that are not opened yet.
    var sendable: [UInt8] = []
    var opened: [UInt8] = []
    var tail: [UInt8] = []
    var pipe: Pipe?

    /// A pipe with bytes in it.
    struct Pipe {
        var read: CInt
        var write: CInt
        var count: Int32

        func close() {
            Linux.close(self.read)
            if self.write >= 0 { Linux.close(self.write) }
        }
    }

    /// What of the flags another data plane needs; the rest it learns anew.
    static let lasting: Side.Flags = [
        .hangUp, .failed, .tunnel, .ended, .flushed, .closeSealed, .closeReceived, .bulk, .broken, .exactReads, .urgent,
        .kept,
    ]

    /// More than any block holds.
    private static let limit = 64 << 20

    /// Closes what nobody has taken.
    mutating func close() {
        if self.descriptor >= 0 { Linux.close(self.descriptor) }
        self.descriptor = -1
        self.pipe.take()?.close()
    }
}

extension CarriedSide {
    /// Writes the side and gives its descriptors to the list.
    mutating func write(to writer: inout StateWriter, _ descriptors: inout OwnedDescriptors) {
        writer.put(optional: descriptors.add(self.descriptor)) { $0.put($1) }
        self.descriptor = -1
        writer.put(self.flags.intersection(Self.lasting).rawValue)
        writer.put(self.bytes)
        for bytes in [self.sendable, self.opened, self.tail] { writer.put(bytes: bytes) }
        let pipe = self.pipe.take()
        writer.put(pipe != nil)
        guard let pipe else { return }
        writer.put(descriptors.add(pipe.read) ?? .max)
        writer.put(descriptors.add(pipe.write) ?? .max)
        writer.put(pipe.count)
    }

    init(from reader: inout StateReader, _ descriptors: inout OwnedDescriptors) throws(StateError) {
        // Closed again when what follows is wrong.
        var side = CarriedSide()
        do throws(StateError) {
            if let index = try reader.optional({ reader throws(StateError) in try reader.integer(UInt32.self) }) {
                side.descriptor = try descriptors.take(index)
            }
            side.flags = Side.Flags(rawValue: try reader.integer()).intersection(Self.lasting)
            side.bytes = try reader.count()
            side.sendable = try reader.bytes(limit: Self.limit)
            side.opened = try reader.bytes(limit: Self.limit)
            side.tail = try reader.bytes(limit: Self.limit)
            if try reader.bool() {
                let read = try descriptors.take(try reader.integer(UInt32.self))
                side.pipe = Pipe(read: read, write: -1, count: 0)
                side.pipe?.write = try descriptors.take(try reader.integer(UInt32.self))
                let count = try reader.integer(Int32.self)
                // What is in it, the kernel knows best.
                guard count >= 0, Linux.unreadBytes(read) == Int(count) else {
                    throw StateError("a pipe that does not hold what it should")
                }
                side.pipe?.count = count
            }
        } catch {
            side.close()
            throw error
        }
        self = side
    }
}
