// SPDX-License-Identifier: Apache-2.0

/// The cgroups that a node daemon makes for itself where it was started in the root cgroup: there its program would see
/// every socket of the host.
package enum DaemonCgroup {
    /// Of the daemon of one instance, below the cgroup mount.
    package static func path(instance: String, mount: String) -> String { "\(mount)/nodemesh-\(instance)" }

    /// The canary's, beside the daemon's own.
    package static func canary(of own: String) -> String { own + "-canary" }

    /// Removes them, unless a daemon runs there.
    package static func remove(instance: String) {
        guard let mount = try? Cgroup.mountPoint() else { return }
        let own = Self.path(instance: instance, mount: mount)
        for path in [Self.canary(of: own), own] { try? FileTree.remove(directory: path) }
    }
}
