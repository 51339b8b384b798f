// SPDX-License-Identifier: Apache-2.0
import Foundation
import MeshLinux

/// The sockets of a ``NameServer`` on their way to the next one: those at which queries arrive, and wait meanwhile, and
/// clients' connections that wait for no answer. They close with the last reference.
package final class CarriedNames: Sendable {
    /// Of one network namespace.
    struct Space: Sendable {
        let inode: UInt64
        var sockets: [NameSocket]
        var clients: [Client] = []
    }

    /// A client's connection over TCP.
    struct Client: Sendable {
        let holder: SocketHolder
        /// What has come of its next query.
        let input: [UInt8]
    }

    /// What the descriptors are, in their order: of each space its sockets, then its clients. A reader skips fields that
    /// it does not know; the format changes when what is known changes its meaning.
    private struct Manifest: Codable {
        struct Socket: Codable {
            var isIPv4: Bool
            var place: Int
            var isStream: Bool
        }

        struct Space: Codable {
            var inode: UInt64
            var sockets: [Socket]
            var clients: [[UInt8]]
        }

        var format = CarriedNames.format
        var spaces: [Space]
    }

    /// What this program reads and writes.
    static let format = 1

    let spaces: [Space]

    init(_ spaces: [Space]) { self.spaces = spaces }

    /// - Parameters:
    ///   - manifest: as of ``manifest``.
    ///   - descriptors: owned by this object from now on, whatever happens.
    /// - Throws: why it cannot be read; the sockets are closed then.
    package init(manifest: Data, descriptors: [CInt]) throws(NameServerError) {
        var holders = descriptors.map { SocketHolder(FileDescriptor(owning: $0)) }[...]
        let read: Manifest
        do {
            read = try JSONDecoder().decode(Manifest.self, from: manifest)
        } catch {
            throw NameServerError("what is known of the sockets cannot be read")
        }
        guard read.format == Self.format else {
            throw NameServerError("it is of format \(read.format), this program reads \(Self.format)")
        }
        let count = read.spaces.reduce(0) { $0 + $1.sockets.count + $1.clients.count }
        guard count == holders.count else {
            throw NameServerError("\(holders.count) of its \(count) sockets are there")
        }
        self.spaces = read.spaces.map { space in
            let sockets = zip(space.sockets, holders).map { socket, holder in
                NameSocket(holder: holder, isIPv4: socket.isIPv4, place: socket.place, isStream: socket.isStream)
            }
            holders = holders.dropFirst(sockets.count)
            let clients = zip(space.clients, holders).map { Client(holder: $1, input: $0) }
            holders = holders.dropFirst(clients.count)
            return Space(inode: space.inode, sockets: sockets, clients: clients)
        }
    }

    /// Holds no secret: what has come of a query goes to a resolver in clear.
    package var manifest: Data {
        let spaces = self.spaces.map { space in
            Manifest.Space(
                inode: space.inode,
                sockets: space.sockets.map {
                    Manifest.Socket(isIPv4: $0.isIPv4, place: $0.place, isStream: $0.isStream)
                },
                clients: space.clients.map(\.input))
        }
        return (try? JSONEncoder().encode(Manifest(spaces: spaces))) ?? Data()
    }

    /// Borrowed, in the order of ``manifest``.
    package var descriptors: [CInt] {
        self.spaces.flatMap { $0.sockets.map(\.raw) + $0.clients.map(\.holder.raw) }
    }

    /// Ends the listeners though copies may be held elsewhere.
    func retire() { for space in self.spaces { space.retire() } }
}

extension CarriedNames.Space {
    func retire() { for socket in self.sockets { socket.retire() } }
}
