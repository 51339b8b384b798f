// SPDX-License-Identifier: Apache-2.0

import Glibc
import MeshAdminAPI
import MeshLinux
import MeshModel

/// What an enrolment request names, as found on this host.
package struct InspectedWorkload: Sendable {
    /// Directory and kernel id.
    package let cgroup: (path: String, id: UInt64)
    package let namespace: NetworkNamespace
    /// What tells the namespace from others while it lives.
    package let namespaceInode: UInt64
    package let addresses: [IPAddress]
    /// It lives in the network namespace that nodemeshd lives in.
    package let isHostNetwork: Bool

    package init(
        cgroup: (path: String, id: UInt64), namespace: NetworkNamespace, namespaceInode: UInt64,
        addresses: [IPAddress], isHostNetwork: Bool = false
    ) {
        self.isHostNetwork = isHostNetwork
        self.cgroup = cgroup
        self.namespace = namespace
        self.namespaceInode = namespaceInode
        self.addresses = addresses
    }

    /// Whether one of the two cgroups holds the other.
    func overlaps(_ other: InspectedWorkload) -> Bool {
        self.cgroup.id == other.cgroup.id || self.cgroup.path.hasPrefix(other.cgroup.path + "/")
            || other.cgroup.path.hasPrefix(self.cgroup.path + "/")
    }
}

/// Finds a workload's cgroup, network namespace and addresses, and tells whether they are still there.
package protocol WorkloadInspector: Sendable {
    func inspect(_ request: EnrolRequest) throws(EnrolmentError) -> InspectedWorkload
    /// Whether its cgroup is still the same; costs two system calls.
    func isThere(_ workload: InspectedWorkload) -> Bool
    /// nil while the workload exists, otherwise what is gone.
    func absence(of workload: InspectedWorkload, request: EnrolRequest) -> String?
}

/// Looks at this host's kernel.
package struct HostInspector: WorkloadInspector {
    /// Of the namespace that nodemeshd was started in: it never changes.
    private let hostInode: UInt64

    package init() {
        self.hostInode = (try? NetworkNamespace.ofProcess())?.inode ?? 0
    }

    package func isThere(_ workload: InspectedWorkload) -> Bool {
        (try? Cgroup(path: workload.cgroup.path))?.id == workload.cgroup.id
    }

    package func inspect(_ request: EnrolRequest) throws(EnrolmentError) -> InspectedWorkload {
        let cgroup = try self.cgroup(at: request.cgroup)
        let namespace = try self.namespace(of: cgroup, path: request.networkNamespace)
        return InspectedWorkload(
            cgroup: (cgroup.path, cgroup.id), namespace: namespace, namespaceInode: namespace.inode,
            addresses: try self.addresses(in: namespace, given: request.addresses),
            isHostNetwork: namespace.inode == self.hostInode)
    }

    package func absence(of workload: InspectedWorkload, request: EnrolRequest) -> String? {
        guard let cgroup = try? Cgroup(path: workload.cgroup.path), cgroup.id == workload.cgroup.id else {
            return "its cgroup \(workload.cgroup.path) is gone"
        }
        if let path = request.networkNamespace {
            let isGone = Self.isElsewhere(workload) { () throws(SystemError) in try NetworkNamespace(path: path) }
            return isGone ? "its network namespace \(path) is gone" : nil
        }
        // Without a name, the namespace lives as long as a process of the cgroup is in it.
        let processes = cgroup.firstProcesses()
        guard !processes.isEmpty else { return nil }
        let isThere = processes.contains { pid in
            !Self.isElsewhere(workload) { () throws(SystemError) in try NetworkNamespace(pid: pid) }
        }
        return isThere ? nil : "no process of \(workload.cgroup.path) is in its network namespace any longer"
    }

    /// Whether a namespace is not the workload's. One that cannot be opened for want of descriptors or memory may be: a
    /// daemon in need must not let its workloads go.
    private static func isElsewhere(
        _ workload: InspectedWorkload, _ open: () throws(SystemError) -> NetworkNamespace
    ) -> Bool {
        do throws(SystemError) {
            return try open().inode != workload.namespaceInode
        } catch {
            return ![EMFILE, ENFILE, ENOMEM].contains(error.errno)
        }
    }

    private func cgroup(at path: String) throws(EnrolmentError) -> Cgroup {
        guard path.hasPrefix("/") else {
            throw EnrolmentError(.invalid, "cgroup '\(path)' is not an absolute path")
        }
        do {
            let cgroup = try Cgroup(path: path)
            guard cgroup.path != (try? Cgroup.mountPoint()) else {
                throw EnrolmentError(.invalid, "cgroup '\(path)' is the root cgroup, which holds the whole host")
            }
            return cgroup
        } catch let error as EnrolmentError {
            throw error
        } catch {
            let mount = (try? Cgroup.mountPoint()) ?? "/sys/fs/cgroup"
            guard FileTree.exists(path) else { throw EnrolmentError(.absent, "cgroup '\(path)' is not there") }
            throw EnrolmentError(
                .invalid, "cgroup '\(path)' is not a cgroup v2 directory below \(mount): \(error)")
        }
    }

    private func namespace(of cgroup: Cgroup, path: String?) throws(EnrolmentError) -> NetworkNamespace {
        if let path {
            do {
                let namespace = try NetworkNamespace(path: path)
                // Only a network namespace lets itself be entered as one.
                try namespace.run { () throws(SystemError) -> Void in }
                return namespace
            } catch {
                throw EnrolmentError(.invalid, "network namespace '\(path)' cannot be used: \(error)")
            }
        }
        for pid in cgroup.firstProcesses() {
            // A process may end between the listing and the look.
            if let namespace = try? NetworkNamespace(pid: pid) { return namespace }
        }
        throw EnrolmentError(
            .empty,
            "\(cgroup.path) has no processes to find the network namespace by; start the workload or give its network namespace"
        )
    }

    private func addresses(
        in namespace: NetworkNamespace, given: [String]?
    ) throws(EnrolmentError) -> [IPAddress] {
        if let given {
            var addresses: [IPAddress] = []
            for text in given {
                guard let address = IPAddress(text), !address.isLoopback, !address.isUnspecified else {
                    throw EnrolmentError(.invalid, "address '\(text)' is not an IP address of a workload")
                }
                addresses.append(address)
            }
            guard !addresses.isEmpty else { throw EnrolmentError(.invalid, "an empty list of addresses was given") }
            return addresses
        }
        let found: [InterfaceAddress]
        do {
            found = try namespace.run { () throws(SystemError) in try InterfaceAddress.all() }
        } catch {
            throw EnrolmentError(.kernel, "the addresses of the network namespace cannot be read: \(error)")
        }
        // Link-local ones mean something only on their own link.
        let addresses = found.filter { !$0.isLoopback && $0.isUp }.compactMap { IPAddress(bytes: $0.bytes) }
            .filter { !$0.isLoopback && !$0.isLinkLocal }
        guard !addresses.isEmpty else {
            throw EnrolmentError(
                .invalid, "the network namespace has no address on an interface that is up; give its addresses")
        }
        return addresses
    }
}
