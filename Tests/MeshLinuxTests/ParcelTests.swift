// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import Testing

@Suite struct ParcelTests {
    /// Pipes' reading ends, each with its number waiting in it, and their writing ends.
    private func pipes(_ count: Int) throws -> (reading: [CInt], writing: [CInt]) {
        var (reading, writing) = ([CInt](), [CInt]())
        for number in 0..<count {
            let pipe = try Pipe(capacity: 4096).release()
            var value = UInt32(number)
            #expect(write(pipe.write, &value, 4) == 4)
            reading.append(pipe.read)
            writing.append(pipe.write)
        }
        return (reading, writing)
    }

    private func close(_ descriptors: [CInt]) { for descriptor in descriptors { Linux.close(descriptor) } }

    private func pack(_ bytes: [UInt8], _ descriptors: [CInt], label: [UInt8] = []) throws -> Parcel {
        // A typed throw out of withUnsafeBytes would lose its type.
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, bytes.count), alignment: 8)
        defer { copy.deallocate() }
        copy.copyBytes(from: bytes)
        return try Parcel.pack(
            label: label, UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(copy)[..<bytes.count]), descriptors)
    }

    private func failure(_ parcel: consuming Parcel) -> String? {
        do throws(ParcelError) {
            let descriptors = try parcel.unpack { $2 }
            self.close(descriptors)
            return nil
        } catch {
            return error.description
        }
    }

    @Test(arguments: [0, 1, 253, 254, 600])
    func `what was packed comes out in its order`(_ count: Int) throws {
        let made = try self.pipes(count)
        let parcel = try self.pack([1, 2, 3], made.reading, label: Array("label".utf8))
        // Only the parcel has them now.
        self.close(made.reading)
        let (label, bytes, descriptors) = try parcel.unpack { ($0, Array($1), $2) }
        #expect(label == Array("label".utf8))
        #expect(bytes == [1, 2, 3])
        let numbers = descriptors.map { descriptor -> UInt32? in
            var value: UInt32 = 0
            return read(descriptor, &value, 4) == 4 ? value : nil
        }
        #expect(numbers == (0..<UInt32(count)).map { $0 })
        #expect(descriptors.allSatisfy { fcntl($0, F_GETFD) == FD_CLOEXEC })
        self.close(descriptors + made.writing)
    }

    @Test(arguments: [2, 600])
    func `who holds a copy can unpack it again, until it is emptied`(_ count: Int) throws {
        let made = try self.pipes(count)
        let parcel = try self.pack([7], made.reading)
        func copy() throws -> Parcel {
            Parcel(
                memory: try parcel.memory.duplicate(), reader: try parcel.reader.duplicate(),
                writer: try parcel.writer.duplicate())
        }
        for _ in 0..<3 {
            let (bytes, descriptors) = try copy().unpack { (Array($1), $2) }
            #expect(bytes == [7])
            // The same pipes, in their order.
            #expect(descriptors.map(self.inode) == made.reading.map(self.inode))
            self.close(descriptors)
        }
        Parcel.empty(parcel.reader)
        #expect(self.failure(try copy()) == "0 of its \(count) descriptors are there")
        self.close(made.reading + made.writing)
    }

    private func inode(_ descriptor: CInt) -> UInt64 {
        var about = stat()
        return fstat(descriptor, &about) == 0 ? UInt64(about.st_ino) : 0
    }

    @Test func `what is wrong is told, and closed`() throws {
        let made = try self.pipes(1)
        defer { self.close(made.reading + made.writing) }
        func parcel(memory: consuming FileDescriptor) throws -> Parcel {
            let good = try self.pack([], made.reading)
            return Parcel(
                memory: memory, reader: try good.reader.duplicate(), writer: try good.writer.duplicate())
        }
        // Another parcel's memory.
        let other = try self.pack([], made.reading)
        let mixed = try parcel(memory: try other.memory.duplicate())
        #expect(self.failure(mixed) == "the descriptors in its queue are another parcel's")
        // No memory of a parcel at all.
        let file = try parcel(memory: FileDescriptor(path: "/proc/self/status"))
        #expect(self.failure(file) == "its memory is not sealed")
        let pipe = try Pipe(capacity: 4096).release()
        Linux.close(pipe.write)
        let notAFile = try parcel(memory: FileDescriptor(owning: pipe.read))
        #expect(self.failure(notAFile) == "its memory is not sealed")
    }

    @Test func `a parcel that nobody opens closes what is in it`() throws {
        let made = try self.pipes(1)
        do {
            let parcel = try self.pack([], made.reading)
            _ = consume parcel
        }
        self.close(made.reading)
        var entry = pollfd(fd: made.writing[0], events: 0, revents: 0)
        #expect(poll(&entry, 1, 0) == 1 && entry.revents & Int16(POLLERR) != 0)
        self.close(made.writing)
    }
}
