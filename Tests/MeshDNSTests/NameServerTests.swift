// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import Logging
import MeshLinux
import Testing

@testable import MeshDNS

/// A server on loopback of the test's own network namespace, and those who ask it.
struct NameServerTests {
    private static let hooks = NameServerHooks(
        datagramOrigin: { _, _, _, _ in nil }, streamOrigin: { _ in nil }, nodeResolvers: { [] },
        onAnswer: { _, _ in }, onAttempt: { _ in }, onFailure: { _, _ in })

    private static func server(_ ports: [UInt16]) throws -> NameServer {
        let configuration = NameServerConfiguration(
            ports: ports, domain: Messages.name("mesh.internal"), aliases: [], timeToLive: 5)
        let server = try NameServer(configuration: configuration, hooks: Self.hooks, logger: Logger(label: "names"))
        try server.start()
        return server
    }

    /// Numbers that nobody uses at the moment.
    private static func ports(_ count: Int) throws -> [UInt16] {
        let taken = try (0..<count).map { _ in SocketHolder(try Linux.tcpListener(at: .loopback(port: 0))) }
        return try taken.map { try Linux.localEndpoint($0.raw).port }
    }

    /// A client that has asked and waits.
    private final class Client {
        let holder: SocketHolder

        init(udp port: UInt16) throws {
            self.holder = SocketHolder(try Linux.udpSocket(.ipv4))
            _ = try Linux.connect(self.holder.raw, to: .loopback(port: port))
        }

        init(tcp port: UInt16) throws {
            self.holder = SocketHolder(try Linux.tcpSocket())
            _ = try Linux.connect(self.holder.raw, to: .loopback(port: port))
            try self.wait(POLLOUT)
        }

        private func wait(_ events: CInt = POLLIN) throws {
            var entry = pollfd(fd: self.holder.raw, events: Int16(events), revents: 0)
            try #require(poll(&entry, 1, 60_000) == 1, "nothing came")
        }

        func send(_ bytes: [UInt8]) throws { _ = try Linux.send(self.holder.raw, bytes) }

        func receive() throws -> [UInt8] {
            try self.wait()
            var buffer = [UInt8](repeating: 0, count: 4096)
            guard case .done(let count) = try Linux.receive(self.holder.raw, into: &buffer) else { return [] }
            return Array(buffer[..<count])
        }
    }

    private static func query(_ id: UInt16) -> [UInt8] { Messages.query("web.shop.mesh.internal", id: id) }

    private static func framed(_ message: [UInt8]) -> [UInt8] {
        [UInt8(message.count >> 8), UInt8(message.count & 255)] + message
    }

    @Test func `what is asked between two servers is answered by the second, at the same sockets`() throws {
        let ports = try Self.ports(3)
        let home = try NetworkNamespace.ofProcess()
        let first = try Self.server(ports)
        let sockets = try first.attach(home)
        let (asker, stream, half) = (
            try Client(udp: ports[1]), try Client(tcp: ports[0]), try Client(tcp: ports[0])
        )
        try asker.send(Self.query(1))
        #expect(Messages.id(try asker.receive()) == 1)
        try stream.send(Self.framed(Self.query(2)))
        #expect(Messages.id(Array(try stream.receive().dropFirst(2))) == 2)
        try half.send(Self.framed(Self.query(3)))
        #expect(Messages.id(Array(try half.receive().dropFirst(2))) == 3)
        let whole = Self.framed(Self.query(4))
        try half.send(Array(whole[..<9]))

        let frozen = first.freeze()
        try asker.send(Self.query(5))
        try stream.send(Self.framed(Self.query(6)))
        try half.send(Array(whole[9...]))
        let late = try Client(tcp: ports[0])
        try late.send(Self.framed(Self.query(7)))

        // As another process gets them.
        let copies = frozen.descriptors.map { Glibc.dup($0) }
        let second = try Self.server(ports)
        second.adopt(try CarriedNames(manifest: frozen.manifest, descriptors: copies))
        let again = try second.attach(home)
        #expect(again.ipv4 != sockets.ipv4)
        second.adoptionComplete()
        #expect(Messages.id(try asker.receive()) == 5)
        #expect(Messages.id(Array(try stream.receive().dropFirst(2))) == 6)
        #expect(Messages.id(Array(try half.receive().dropFirst(2))) == 4)
        #expect(Messages.id(Array(try late.receive().dropFirst(2))) == 7)
        second.stop()
        withExtendedLifetime(frozen) {}
    }

    @Test func `sockets whose namespace does not come back refuse, whoever holds copies`() throws {
        let ports = try Self.ports(1)
        let first = try Self.server(ports)
        let sockets = try first.attach(NetworkNamespace.ofProcess())
        let kept = first.carried()
        let frozen = first.freeze()
        let second = try Self.server(ports)
        second.adopt(frozen)
        #expect(Linux.isListening(sockets.ipv4))
        second.adoptionComplete()
        #expect(!Linux.isListening(sockets.ipv4))
        // A namespace that comes later has sockets of its own, and queries do not go to those that were left.
        _ = try second.attach(NetworkNamespace.ofProcess())
        for id in UInt16(1)...20 {
            let asker = try Client(udp: ports[0])
            try asker.send(Self.query(id))
            #expect(Messages.id(try asker.receive()) == id)
        }
        second.stop()
        withExtendedLifetime(kept) {}
    }

    @Test func `sockets that are not what they should be are closed`() throws {
        func failure(_ manifest: String, _ count: Int) throws -> (String?, Bool) {
            var ends: [CInt] = [-1, -1]
            #expect(pipe(&ends) == 0)
            defer { close(ends[0]) }
            var text: String?
            do throws(NameServerError) {
                _ = try CarriedNames(
                    manifest: Data(manifest.utf8), descriptors: Array([ends[1]].prefix(count)))
            } catch {
                text = error.description
            }
            if count == 0 { close(ends[1]) }
            var entry = pollfd(fd: ends[0], events: Int16(POLLIN), revents: 0)
            return (text, poll(&entry, 1, 0) == 1 && entry.revents & Int16(POLLHUP) != 0)
        }
        #expect(try failure("", 1) == ("what is known of the sockets cannot be read", true))
        #expect(try failure(#"{"format":9,"spaces":[]}"#, 1) == ("it is of format 9, this program reads 1", true))
        #expect(try failure(#"{"format":1,"spaces":[],"more":1}"#, 1) == ("1 of its 0 sockets are there", true))
        let space = #"{"inode":1,"sockets":[{"isIPv4":true,"place":0,"isStream":true}],"clients":[]}"#
        #expect(
            try failure(#"{"format":1,"spaces":["# + space + "]}", 0) == ("0 of its 1 sockets are there", true))
    }

    @Test func `what is no socket for names is not taken`() throws {
        let ports = try Self.ports(1)
        let server = try Self.server(ports)
        let wrong = SocketHolder(try Linux.tcpListener(at: .loopback(port: 0)))
        let space = CarriedNames.Space(
            inode: try NetworkNamespace.ofProcess().inode,
            sockets: [NameSocket(holder: wrong, isIPv4: true, place: 0, isStream: true)])
        server.adopt(CarriedNames([space]))
        let sockets = try server.attach(NetworkNamespace.ofProcess())
        #expect(try Linux.localEndpoint(sockets.ipv4).port == ports[0])
        server.stop()
    }
}
