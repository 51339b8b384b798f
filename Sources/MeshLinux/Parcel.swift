// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// Bytes and any number of descriptors, held by three descriptors: sealed memory with the bytes, and the two ends of a
/// Unix socket in whose queue the other descriptors wait. So a parcel passes where there is room for few: into a service
/// manager's descriptor store, across an exec, in one message.
///
/// The kernel counts descriptors that wait in a queue per user and refuses more than RLIMIT_NOFILE of them to a process
/// without CAP_SYS_RESOURCE and CAP_SYS_ADMIN (ETOOMANYREFS).
package struct Parcel: ~Copyable, Sendable {
    /// Sealed memory.
    package let memory: FileDescriptor
    /// Where the descriptors are read.
    package let reader: FileDescriptor
    /// Keeps the queue of ``reader`` alive; nothing is written to it any more.
    package let writer: FileDescriptor

    /// More bytes, or more descriptors, are no parcel.
    package static let maximumBytes = 1 << 30
    package static let maximumDescriptors = 4 << 20
    /// For the queue: the kernel counts about a kilobyte for each message.
    private static let queueSize: CInt = 64 << 20
    private static let magic: [UInt8] = Array("nmparcel".utf8)
    private static let headerSize = 40

    /// - Parameters:
    ///   - memory: as of a parcel made before.
    package init(
        memory: consuming FileDescriptor, reader: consuming FileDescriptor, writer: consuming FileDescriptor
    ) {
        self.memory = memory
        self.reader = reader
        self.writer = writer
    }

    /// Puts bytes and descriptors into a parcel. The descriptors stay the caller's; the parcel has copies.
    ///
    /// - Parameter label: what the receiver reads first, before it decides about the rest.
    package static func pack(
        label: [UInt8] = [], _ bytes: UnsafeRawBufferPointer, _ descriptors: [CInt]
    ) throws(SystemError) -> Parcel {
        guard bytes.count + label.count <= Self.maximumBytes, descriptors.count <= Self.maximumDescriptors else {
            throw SystemError(call: "a parcel", errno: E2BIG)
        }
        let id = UInt64.random(in: 1 ... .max)
        let memory = FileDescriptor(owning: try systemCall("memfd_create") { nm_memory_file("nodemesh-parcel") })
        let header =
            Self.magic + Self.bytes(id) + Self.bytes(UInt64(label.count)) + Self.bytes(UInt64(bytes.count))
            + Self.bytes(UInt64(descriptors.count))
        var head = (header + label)[...]
        while !head.isEmpty {
            let count = try systemCall("write") {
                head.withUnsafeBytes { Glibc.write(memory.raw, $0.baseAddress, $0.count) }
            }
            head = head.dropFirst(count)
        }
        var body = bytes
        while !body.isEmpty {
            let part = body
            let count = try systemCall("write") { Glibc.write(memory.raw, part.baseAddress, part.count) }
            body = UnsafeRawBufferPointer(rebasing: part.dropFirst(count))
        }
        let raw = memory.raw
        _ = try systemCall("fcntl") { nm_seal(raw) }

        var ends: [CInt] = [-1, -1]
        _ = try systemCall("socketpair") { ends.withUnsafeMutableBufferPointer { nm_unix_packet_pair($0.baseAddress) } }
        let reader = FileDescriptor(owning: ends[0])
        let writer = FileDescriptor(owning: ends[1])
        let end = writer.raw
        _ = try systemCall("setsockopt") { nm_force_send_buffer(end, Self.queueSize) }
        var (rest, number) = (descriptors[...], UInt64(0))
        while !rest.isEmpty {
            let batch = rest.prefix(DescriptorMessage.capacity)
            rest = rest.dropFirst(batch.count)
            try DescriptorMessage.send(Self.bytes(id) + Self.bytes(number), Array(batch), to: end)
            number += 1
        }
        return Parcel(memory: memory, reader: reader, writer: writer)
    }

    /// Unpacks everything. Whoever holds copies of the three descriptors can do that again, until ``empty(_:)``; but when
    /// something is wrong, what waits in the queue is taken out of it and closed.
    ///
    /// - Parameter body: is given the label, the bytes, which are valid within the call, and the descriptors in their
    ///   order, which are its own then.
    package consuming func unpack<Result: ~Copyable>(
        _ body: (_ label: [UInt8], _ bytes: UnsafeRawBufferPointer, _ descriptors: [CInt]) -> Result
    ) throws(ParcelError) -> Result {
        var descriptors: [CInt] = []
        do throws(ParcelError) {
            let memory = try self.map()
            defer { munmap(UnsafeMutableRawPointer(mutating: memory.baseAddress), memory.count) }
            let header = try Self.checkHeader(memory)
            descriptors = try self.takeDescriptors(header.id, header.count)
            let start = Self.headerSize + header.label
            return body(
                Array(memory[Self.headerSize..<start]), UnsafeRawBufferPointer(rebasing: memory[start...]),
                descriptors)
        } catch {
            Self.empty(self.reader)
            throw error
        }
    }

    /// Takes the descriptors out of a queue and closes them: its parcel is of no use any more.
    package static func empty(_ reader: borrowing FileDescriptor) {
        while let batch = try? DescriptorMessage.receive(reader.raw, limit: 64) {
            // An end of file has neither.
            if batch.bytes.isEmpty && batch.descriptors.isEmpty { return }
            for descriptor in batch.descriptors { _ = Glibc.close(descriptor) }
        }
    }

    private borrowing func takeDescriptors(_ id: UInt64, _ count: Int) throws(ParcelError) -> [CInt] {
        var (descriptors, number) = ([CInt](), UInt64(0))
        descriptors.reserveCapacity(count)
        do throws(SystemError) {
            try DescriptorMessage.peekAgain(self.reader.raw)
        } catch {
            throw ParcelError("its descriptors cannot be read: \(error)")
        }
        do throws(ParcelError) {
            while let (head, batch) = try self.nextBatch() {
                descriptors += batch
                guard head == Self.bytes(id) + Self.bytes(number), !batch.isEmpty else {
                    throw ParcelError("the descriptors in its queue are another parcel's")
                }
                number += 1
                guard descriptors.count < count else { break }
            }
            guard descriptors.count == count else {
                throw ParcelError("\(descriptors.count) of its \(count) descriptors are there")
            }
            return descriptors
        } catch {
            for descriptor in descriptors { _ = Glibc.close(descriptor) }
            throw error
        }
    }

    /// The memory is sealed, so nobody can cut it short under the reader.
    private borrowing func map() throws(ParcelError) -> UnsafeRawBufferPointer {
        let raw = self.memory.raw
        guard nm_is_sealed(raw) == 1 else { throw ParcelError("its memory is not sealed") }
        let size = Int(nm_file_size(raw))
        guard size >= Self.headerSize, size <= Self.headerSize + Self.maximumBytes else {
            throw ParcelError("its memory has \(size) bytes")
        }
        guard let start = mmap(nil, size, PROT_READ, MAP_PRIVATE, raw, 0), start != MAP_FAILED else {
            throw ParcelError("its memory cannot be read: \(SystemError.text(of: errno))")
        }
        return UnsafeRawBufferPointer(start: start, count: size)
    }

    private static func checkHeader(
        _ memory: UnsafeRawBufferPointer
    ) throws(ParcelError) -> (id: UInt64, label: Int, count: Int) {
        guard memory.starts(with: Self.magic) else { throw ParcelError("its memory is something else") }
        let numbers = (1..<5).map {
            UInt64(littleEndian: memory.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self))
        }
        let limit = UInt64(Self.maximumBytes)
        guard numbers[1] <= limit, numbers[2] <= limit,
            numbers[1] + numbers[2] == UInt64(memory.count - Self.headerSize),
            numbers[3] <= UInt64(Self.maximumDescriptors)
        else { throw ParcelError("its sizes do not agree") }
        return (numbers[0], Int(numbers[1]), Int(numbers[3]))
    }

    private borrowing func nextBatch() throws(ParcelError) -> ([UInt8], [CInt])? {
        do throws(SystemError) {
            guard let message = try DescriptorMessage.peek(self.reader.raw, limit: 64) else { return nil }
            // An end of file has neither.
            return message.bytes.isEmpty && message.descriptors.isEmpty ? nil : message
        } catch {
            throw ParcelError("its descriptors cannot be read: \(error)")
        }
    }

    // MARK: Bytes

    private static func bytes(_ number: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }
    }
}

/// What is wrong with a parcel.
package struct ParcelError: Error, Equatable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}
