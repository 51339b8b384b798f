// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshAdminAPI
import MeshLinux
import MeshModel
import MeshSteering

/// What the sockets of workloads' network namespaces tell: who listens where in shared ones, and which connections go
/// past the mesh. Asks the kernel by socket diagnostics, which see every socket with the cgroup it was made in.
package actor NamespaceSockets {
    /// A workload as far as sockets are concerned.
    package struct Owner: Sendable {
        package let id: WorkloadID
        package let key: UInt32
        /// Its cgroup's directory; sockets of those below are its too.
        package let cgroup: String
        package let namespace: NetworkNamespace
        package let isShared: Bool
        package let addresses: [IPAddress]
        package let excludedPrefixes: [IPPrefix]
        package let excludedOutboundPorts: Set<UInt16>
        package let excludedInboundPorts: Set<UInt16>
    }

    /// Open handles of one namespace, kept while a workload is in it.
    private final class Handle: Sendable {
        let cookie: UInt64
        let diagnostics: SocketDiagnostics
        /// Keeps the namespace, and so its inode, from ending.
        let namespace: NetworkNamespace

        init(_ namespace: NetworkNamespace) throws(SystemError) {
            self.namespace = namespace
            self.cookie = try namespace.cookie()
            self.diagnostics = try SocketDiagnostics(in: namespace)
        }
    }

    /// More ports of one workload are not told to the control plane; they are steered all the same.
    private static let registrationLimit = 256
    private static let connected: Set<DiagnosedSocket.State> = [
        .established, .synSent, .finWait1, .finWait2, .closeWait, .lastAck, .closing,
    ]

    private let steering: Steering
    /// Of the proxy's sockets.
    private let proxyCgroups: Set<UInt64>
    private let logger: Logger
    private var handles: [UInt64: Handle] = [:]
    /// Directories of cgroups by id, which is never used twice.
    private var paths: [UInt64: String] = [:]
    /// Ports that shared workloads listen on, as last seen.
    package private(set) var ports: [WorkloadID: [UInt16]] = [:]

    package init(steering: Steering, logger: Logger) {
        self.steering = steering
        self.proxyCgroups = steering.proxyCgroups
        self.logger = logger
    }

    private func handle(_ namespace: NetworkNamespace) throws(SystemError) -> Handle {
        if let handle = self.handles[namespace.inode] { return handle }
        let handle = try Handle(namespace)
        self.handles[namespace.inode] = handle
        return handle
    }

    private func path(_ cgroup: UInt64) -> String? {
        if let path = self.paths[cgroup] { return path }
        guard cgroup != 0, let path = (try? Cgroup(id: cgroup))?.path else { return nil }
        if self.paths.count > 65_536 { self.paths = [:] }
        self.paths[cgroup] = path
        return path
    }

    // MARK: Listeners

    /// Makes a workload that was just enrolled the owner of the ports that it listens on already.
    func adopt(_ key: UInt32, cgroup: String, in namespace: NetworkNamespace) {
        do {
            let handle = try self.handle(namespace)
            for socket in try handle.diagnostics.dump(states: [.listen]) {
                guard let path = self.path(socket.cgroupID), path == cgroup || path.hasPrefix(cgroup + "/") else {
                    continue
                }
                try self.steering.setPort(socket.local.port, of: handle.cookie, key)
            }
        } catch {
            self.logger.error(
                "ports that a workload listens on are not known",
                metadata: ["cgroup": "\(cgroup)", "reason": "\(error)"])
        }
    }

    /// Sets right who listens where in the shared namespaces of these workloads.
    ///
    /// - Returns: whether the ports of a workload have changed since the last time.
    package func sweep(_ owners: [Owner]) -> Bool {
        var found: [WorkloadID: Set<UInt16>] = [:]
        let groups = Dictionary(grouping: owners.filter(\.isShared), by: \.namespace.inode)
        for owners in groups.values {
            guard let first = owners.first else { continue }
            do {
                try self.sweep(self.handle(first.namespace), owners, &found)
            } catch {
                self.logger.error("ports of a shared namespace are not known", metadata: ["reason": "\(error)"])
                for owner in owners { found[owner.id] = Set(self.ports[owner.id] ?? []) }
            }
        }
        let live = Set(owners.map(\.namespace.inode))
        self.handles = self.handles.filter { live.contains($0.key) }
        let ports = found.mapValues { Array($0.sorted().prefix(Self.registrationLimit)) }
        defer { self.ports = ports }
        return ports != self.ports
    }

    private func sweep(_ handle: Handle, _ owners: [Owner], _ found: inout [WorkloadID: Set<UInt16>]) throws {
        // What the map says comes first: a port that begins to listen meanwhile is then in the second list only, and
        // stays as the programs have set it.
        let known = try self.steering.ports(handle.cookie)
        var listening: [UInt16: Owner] = [:]
        for socket in try handle.diagnostics.dump(states: [.listen]) {
            guard let owner = self.owner(of: socket, among: owners) else { continue }
            listening[socket.local.port] = owner
            // One that only the host itself can dial is no endpoint.
            if !SocketAddress(socket.local).ip.isLoopback { found[owner.id, default: []].insert(socket.local.port) }
        }
        for (port, owner) in listening where known[port] != owner.key {
            try self.steering.setPort(port, of: handle.cookie, owner.key)
        }
        for port in known.keys where listening[port] == nil {
            try self.steering.removePort(port, of: handle.cookie)
        }
    }

    private func owner(of socket: DiagnosedSocket, among owners: [Owner]) -> Owner? {
        guard let path = self.path(socket.cgroupID) else { return nil }
        return owners.first { path == $0.cgroup || path.hasPrefix($0.cgroup + "/") }
    }

    // MARK: Connections past the mesh

    /// Connections of these workloads that neither the proxy nor the direct path carries.
    ///
    /// - Parameters:
    ///   - prefixes: the mesh's; a connection out of them is nobody's business.
    ///   - direct: the ends, client first, of connections of the direct path.
    package func uncaptured(
        _ owners: [Owner], prefixes: [IPPrefix], direct: Set<[SocketAddress]> = []
    ) -> [UncapturedConnection] {
        var found: [UncapturedConnection] = []
        for owners in Dictionary(grouping: owners, by: \.namespace.inode).values {
            guard let first = owners.first, let handle = try? self.handle(first.namespace),
                let sockets = try? handle.diagnostics.dump(states: Self.connected.union([.listen]))
            else { continue }
            let listening = Set(sockets.filter { $0.state == .listen }.map(\.local.port))
            // The proxy's ends of what it carries, as the application's ends would name them.
            let proxied = Set(
                sockets.filter { self.proxyCgroups.contains($0.cgroupID) }.map {
                    [SocketAddress($0.remote), SocketAddress($0.local)]
                })
            for socket in sockets where socket.state != .listen {
                guard let owner = self.owner(of: socket, among: owners) else { continue }
                let (local, remote) = (SocketAddress(socket.local), SocketAddress(socket.remote))
                if remote.ip.isLoopback || proxied.contains([local, remote]) || local.ip == remote.ip { continue }
                if direct.contains([local, remote]) || direct.contains([remote, local]) { continue }
                let isInbound = listening.contains(local.port)
                if !isInbound, !prefixes.contains(where: { $0.contains(remote.ip) }) { continue }
                found.append(
                    UncapturedConnection(
                        workload: owner.id.description, direction: isInbound ? "inbound" : "outbound",
                        local: local.description, remote: remote.description, state: "\(socket.state)",
                        reason: owner.excludes(local: local, remote: remote, isInbound: isInbound)
                            ? "excluded" : "before_enrolment"))
            }
        }
        return found
    }
}

extension NamespaceSockets.Owner {
    init(_ entry: WorkloadRegistry.Entry, excludedPrefixes: [IPPrefix], outbound: [UInt16], inbound: [UInt16]) {
        self.init(
            id: entry.id, key: entry.key, cgroup: entry.workload.cgroup.path, namespace: entry.workload.namespace,
            isShared: entry.options.isShared, addresses: entry.workload.addresses,
            excludedPrefixes: entry.options.excludedPrefixes + excludedPrefixes,
            excludedOutboundPorts: Set(entry.options.excludedOutboundPorts + outbound),
            excludedInboundPorts: Set(entry.options.excludedInboundPorts + inbound))
    }

    fileprivate func excludes(local: SocketAddress, remote: SocketAddress, isInbound: Bool) -> Bool {
        if isInbound { return self.excludedInboundPorts.contains(local.port) }
        return self.excludes(remote)
    }

    /// Whether its connections to an address are never captured.
    func excludes(_ destination: SocketAddress) -> Bool {
        self.excludedOutboundPorts.contains(destination.port)
            || self.excludedPrefixes.contains { $0.contains(destination.ip) }
    }
}
