// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux

/// The sockets at which one namespace's queries arrive. They close with the last reference.
final class NameListeners: Sendable {
    /// One socket, and what is to be known of it.
    struct Socket: Sendable {
        let raw: CInt
        let isIPv4: Bool
        /// Index of its port.
        let place: Int
        let isStream: Bool
    }

    private final class Owner: Sendable {
        let descriptor: FileDescriptor
        init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }
    }

    private let owners: [Owner]
    let sockets: [Socket]
    /// Of the namespace.
    let cookie: UInt64
    /// Nil: the host's.
    let namespace: NetworkNamespace?

    /// Opens them in the namespace that the calling thread is in; IPv6 only where there is some.
    init(ports: [UInt16], namespace: NetworkNamespace?) throws(NameServerError) {
        var (owners, sockets) = ([Owner](), [Socket]())
        func add(_ isIPv4: Bool, _ place: Int, isStream: Bool) throws(NameServerError) {
            let endpoint = Endpoint.loopback(isIPv4 ? .ipv4 : .ipv6, port: ports[place])
            do throws(SystemError) {
                let socket = isStream ? try Linux.tcpListener(at: endpoint) : try Linux.udpListener(at: endpoint)
                sockets.append(Socket(raw: socket.raw, isIPv4: isIPv4, place: place, isStream: isStream))
                owners.append(Owner(socket))
            } catch {
                if !isIPv4, error.errno == EAFNOSUPPORT || error.errno == EADDRNOTAVAIL { return }
                throw Self.explain(error, at: endpoint, isStream: isStream)
            }
        }
        for isIPv4 in [true, false] {
            try add(isIPv4, 0, isStream: true)
            for place in ports.indices { try add(isIPv4, place, isStream: false) }
        }
        guard let first = sockets.first else { throw NameServerError("no port is configured") }
        do throws(SystemError) {
            self.cookie = try Linux.namespaceCookie(ofSocket: first.raw)
        } catch {
            throw NameServerError("its network namespace cannot be told: \(error)")
        }
        self.owners = owners
        self.sockets = sockets
        self.namespace = namespace
    }

    var streamDescriptors: (ipv4: CInt, ipv6: CInt?) {
        let streams = self.sockets.filter(\.isStream)
        return (streams.first(where: \.isIPv4)?.raw ?? -1, streams.first { !$0.isIPv4 }?.raw)
    }

    private static func explain(_ error: SystemError, at endpoint: Endpoint, isStream: Bool) -> NameServerError {
        let (host, port) = (endpoint.family == .ipv4 ? "127.0.0.1" : "[::1]", endpoint.port)
        guard error.errno == EADDRINUSE else {
            return NameServerError("cannot answer names at \(host):\(port) in its network namespace: \(error)")
        }
        let options = isStream ? "-ltnp" : "-lunp"
        return NameServerError(
            """
            another program of its network namespace uses \(isStream ? "TCP" : "UDP") port \(port), which nodemesh \
            needs at \(host):\(port) to answer names; see `ss \(options) 'sport = :\(port)'` there and move that \
            program to another port, or enrol the workload with its DNS left alone
            """)
    }
}
