// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshConfiguration
import MeshLinux

/// What the daemon needs of its host before anything else: directories of its own, and a cgroup of its own, by which
/// the kernel tells its sockets from those of workloads.
struct HostSetup {
    let configuration: AgentConfiguration
    let logger: Logger

    func makeDirectories() throws(AgentError) {
        try self.makePrivateDirectory(self.configuration.dataDirectory)
        try self.makePrivateDirectory(self.configuration.runDirectory)
    }

    /// - Parameter other: the cgroup of the daemon that this one takes over from: the sockets are of that one.
    /// - Returns: the directory of the cgroup that the daemon is in afterwards.
    func enterCgroup(of other: String?) throws(AgentError) -> String {
        guard let other else { return try self.enterOwnCgroup() }
        do throws(SystemError) {
            let pid = ProcessInfo.processInfo.processIdentifier
            if try Cgroup(pid: pid).path != other { try Cgroup(path: other).add(pid: pid) }
            return other
        } catch {
            throw AgentError("the cgroup of the running nodemeshd, \(other), cannot be entered: \(error)")
        }
    }

    private func makePrivateDirectory(_ path: String) throws(AgentError) {
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            // Not when it is so already: on a read-only file system that would be an error.
            let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? NSNumber
            if mode?.intValue == 0o700 { return }
            try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: path)
        } catch {
            throw AgentError("\(path) cannot be made private to root: \(error.localizedDescription)")
        }
    }

    /// Sockets belong to the cgroup their maker was in, so this comes before the first socket.
    private func enterOwnCgroup() throws(AgentError) -> String {
        do throws(SystemError) {
            let mount = try Cgroup.mountPoint()
            let current = try Cgroup(pid: ProcessInfo.processInfo.processIdentifier)
            // Of a systemd unit it takes a part, so that there is a place beside it: its unit delegates the cgroup.
            let isUnit = current.path.hasSuffix(".service")
            guard current.path == mount || isUnit else { return current.path }
            // In the root cgroup the daemon's program would see every socket of the host.
            let path =
                isUnit
                ? "\(current.path)/daemon" : DaemonCgroup.path(instance: self.configuration.instance, mount: mount)
            try FileTree.makeDirectory(path)
            try Cgroup(path: path).add(pid: ProcessInfo.processInfo.processIdentifier)
            self.logger.info("moved to a cgroup of my own", metadata: ["cgroup": "\(path)"])
            return path
        } catch {
            throw AgentError(
                "no cgroup of my own: \(error); nodemeshd needs root and a mounted cgroup v2 ('nodemeshctl check' tells)"
            )
        }
    }
}
