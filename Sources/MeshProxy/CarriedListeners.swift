// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import MeshModel
import MeshTunnel

/// The listeners of one namespace on their way to another data plane, and whose they are.
struct CarriedNamespace: Sendable {
    var inode: UInt64
    var cookie: UInt64
    /// One list for each address: outbound, outbound of IPv6 where there is one, inbound.
    var listeners: [[Listener]]
    var hasOutbound6: Bool
    /// Nothing is accepted before all of these are attached again: whose it is could not be told.
    var members: Set<WorkloadID>
}

extension CarriedNamespace {
    func write(to writer: inout StateWriter, _ descriptors: inout OwnedDescriptors) {
        writer.put(self.inode)
        writer.put(self.cookie)
        writer.put(self.hasOutbound6)
        for list in self.listeners { Self.write(list, to: &writer, &descriptors) }
        writer.put(UInt32(clamping: self.members.count))
        for member in self.members.sorted() { writer.put(name: member) }
    }

    init(from reader: inout StateReader, _ descriptors: inout OwnedDescriptors) throws(StateError) {
        let inode = try reader.integer(UInt64.self)
        self.inode = inode
        self.cookie = try reader.integer()
        self.hasOutbound6 = try reader.bool()
        self.listeners = [try Self.listeners(.outbound(inode), from: &reader, &descriptors)]
        if self.hasOutbound6 {
            self.listeners.append(try Self.listeners(.outbound(inode), from: &reader, &descriptors))
        }
        self.listeners.append(try Self.listeners(.inbound(inode), from: &reader, &descriptors))
        self.members = []
        for _ in 0..<(try reader.integer(UInt32.self)) { self.members.insert(try StateReader.name(&reader)) }
        for listener in self.listeners.joined() {
            // What is no socket of that namespace is not what the bytes say.
            guard (try? Linux.namespaceCookie(ofSocket: listener.descriptor.raw)) == self.cookie else {
                throw StateError("a listener of another network namespace")
            }
        }
    }

    static func write(_ list: [Listener], to writer: inout StateWriter, _ descriptors: inout OwnedDescriptors) {
        // The loops' listeners go with the loops; the state owns copies.
        var copies: [(CInt, SocketAddress)] = []
        for listener in list {
            do throws(SystemError) {
                copies.append((try listener.descriptor.duplicate().release(), listener.address))
            } catch {}
        }
        writer.put(UInt32(clamping: copies.count))
        for (descriptor, address) in copies {
            writer.put(descriptors.add(descriptor) ?? .max)
            writer.put(address: address)
        }
    }

    static func listeners(
        _ kind: Listener.Kind, from reader: inout StateReader, _ descriptors: inout OwnedDescriptors
    ) throws(StateError) -> [Listener] {
        let count = try reader.integer(UInt32.self)
        guard (1...4096).contains(count) else { throw StateError("\(count) listeners at one address") }
        var list: [Listener] = []
        for _ in 0..<count {
            let descriptor = FileDescriptor(owning: try descriptors.take(try reader.integer(UInt32.self)))
            let address = try StateReader.address(&reader)
            guard let own = try? Linux.localEndpoint(descriptor.raw), SocketAddress(own) == address,
                Linux.isListening(descriptor.raw)
            else { throw StateError("a socket that does not listen at \(address)") }
            list.append(Listener(kind: kind, descriptor: descriptor, address: address))
        }
        return list
    }
}
