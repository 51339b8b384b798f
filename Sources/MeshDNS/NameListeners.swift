// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux

/// The sockets at which one namespace's queries arrive. They close with the last reference.
final class NameListeners: Sendable {
    let sockets: [NameSocket]
    /// Of the namespace.
    let cookie: UInt64
    /// Nil: the host's.
    let namespace: NetworkNamespace?

    /// Bytes of queries that wait in one socket while nobody reads, such as during a restart; the kernel counts about
    /// 800 for each.
    private static let queue: CInt = 1 << 20

    /// Opens them in the namespace that the calling thread is in; IPv6 only where there is some.
    ///
    /// - Parameter carried: of the server before: what of them still serves is taken instead of a new one.
    init(ports: [UInt16], namespace: NetworkNamespace?, carried: [NameSocket] = []) throws(NameServerError) {
        var sockets: [NameSocket] = []
        func add(_ isIPv4: Bool, _ place: Int, isStream: Bool) throws(NameServerError) {
            let former = carried.first { $0.isIPv4 == isIPv4 && $0.place == place && $0.isStream == isStream }
            if let former, former.serves(ports[place]) { return sockets.append(former) }
            let endpoint = NameSocket.endpoint(isIPv4: isIPv4, port: ports[place])
            do throws(SystemError) {
                let socket = isStream ? try Linux.tcpListener(at: endpoint) : try Linux.udpListener(at: endpoint)
                if !isStream { try Linux.forceReceiveBuffer(socket.raw, Self.queue) }
                sockets.append(
                    NameSocket(holder: SocketHolder(socket), isIPv4: isIPv4, place: place, isStream: isStream))
            } catch {
                if !isIPv4, error.errno == EAFNOSUPPORT || error.errno == EADDRNOTAVAIL { return }
                throw Self.explain(error, at: endpoint, isStream: isStream)
            }
        }
        for isIPv4 in [true, false] {
            try add(isIPv4, 0, isStream: true)
            for place in ports.indices { try add(isIPv4, place, isStream: false) }
        }
        do throws(SystemError) {
            var cookies: Set<UInt64> = []
            for socket in sockets { cookies.insert(try Linux.namespaceCookie(ofSocket: socket.raw)) }
            guard let cookie = cookies.first, cookies.count == 1 else {
                throw SystemError(call: "sockets of several network namespaces", errno: EINVAL)
            }
            self.cookie = cookie
        } catch {
            throw NameServerError("its network namespace cannot be told: \(error)")
        }
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
