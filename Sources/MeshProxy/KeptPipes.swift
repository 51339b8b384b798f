// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import MeshTunnel

/// Copies of a loop's pipes, and of the memory that says to whom each is lent. Closes what nobody has taken.
///
/// `@unchecked`: it belongs to one thread at a time.
final class KeptPipes: @unchecked Sendable {
    struct Entry {
        var place: UInt32
        var serial: UInt64
        var read: CInt
        var write: CInt
    }

    private var ledger: CInt
    private(set) var entries: [Entry] = []

    init(_ pool: borrowing PipePool) throws(SystemError) {
        self.ledger = try Linux.duplicate(pool.ledger.memory)
        for place in 0..<min(pool.places, PipeLedger.places) {
            let ends = pool[Int32(place)]
            if ends.read < 0 { continue }
            var entry = Entry(
                place: UInt32(place), serial: ends.serial, read: try Linux.duplicate(ends.read), write: -1)
            do throws(SystemError) {
                entry.write = try Linux.duplicate(ends.write)
            } catch {
                Linux.close(entry.read)
                throw error
            }
            self.entries.append(entry)
        }
    }

    deinit {
        if self.ledger >= 0 { Linux.close(self.ledger) }
        for entry in self.entries {
            Linux.close(entry.read)
            Linux.close(entry.write)
        }
    }

    // MARK: - Handing over

    /// Writes them and gives the descriptors to the list.
    func write(to writer: inout StateWriter, _ descriptors: inout OwnedDescriptors) {
        writer.put(descriptors.add(self.ledger) ?? .max)
        self.ledger = -1
        writer.put(UInt32(clamping: self.entries.count))
        for entry in self.entries {
            writer.put(entry.place)
            writer.put(entry.serial)
            writer.put(descriptors.add(entry.read) ?? .max)
            writer.put(descriptors.add(entry.write) ?? .max)
        }
        self.entries = []
    }

    init(from reader: inout StateReader, _ descriptors: inout OwnedDescriptors) throws(StateError) {
        self.ledger = try descriptors.take(try reader.integer(UInt32.self))
        let count = try reader.integer(UInt32.self)
        guard count <= PipeLedger.places else { throw StateError("\(count) pipes of one loop") }
        for _ in 0..<count {
            let (place, serial) = (try reader.integer(UInt32.self), try reader.integer(UInt64.self))
            guard place < PipeLedger.places else { throw StateError("a pipe at place \(place)") }
            let read = try descriptors.take(try reader.integer(UInt32.self))
            do throws(StateError) {
                let write = try descriptors.take(try reader.integer(UInt32.self))
                self.entries.append(Entry(place: place, serial: serial, read: read, write: write))
            } catch {
                Linux.close(read)
                throw error
            }
        }
    }

    // MARK: - Finding

    /// Takes out the pipes that are lent to somebody, by holder: see ``PipeLedger``. A pipe that was made after the copies
    /// is not among them.
    ///
    /// - Returns: nil when the pipes belong to another process by now.
    func takeLent() -> [UInt64: CarriedSide.Pipe]? {
        let places = self.entries.map(\.place).max().map { Int($0) + 1 } ?? 0
        guard let notes = try? PipeLedger.read(self.ledger, places: places) else { return nil }
        var lent: [UInt64: CarriedSide.Pipe] = [:]
        for entry in self.entries {
            let note = notes[Int(entry.place)]
            guard note.holder != 0, note.serial == entry.serial, lent[note.holder] == nil,
                let count = Linux.unreadBytes(entry.read).flatMap(Int32.init(exactly:))
            else {
                Linux.close(entry.read)
                Linux.close(entry.write)
                continue
            }
            lent[note.holder] = CarriedSide.Pipe(read: entry.read, write: entry.write, count: count)
        }
        self.entries = []
        return lent
    }
}
