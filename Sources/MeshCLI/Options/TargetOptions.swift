// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshLinux

/// Which processes are meant, by one of the names that operators know them by.
package struct TargetOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A systemd service, slice or scope, such as redis.service. (required, or one of those below)",
            valueName: "name"))
    package var unit: String?

    @Option(
        help: ArgumentHelp(
            "A cgroup v2 directory, absolute or below the cgroup mount. (required, or one of these)",
            valueName: "path"),
        completion: .directory)
    package var cgroup: String?

    @Option(help: ArgumentHelp("A process: its cgroup is enrolled. (required, or one of these)", valueName: "pid"))
    package var pid: Int32?

    @Option(
        help: ArgumentHelp(
            "A container of docker, containerd, podman or CRI-O, by its id. (required, or one of these)",
            valueName: "id"))
    package var container: String?

    @Option(help: ArgumentHelp("A Kubernetes pod, by its UID. (required, or one of these)", valueName: "uid"))
    package var podUid: String?

    package init() {}

    func check() throws {
        let given = [self.unit, self.cgroup, self.pid.map(String.init), self.container, self.podUid].compactMap(\.self)
        guard given.count == 1 else {
            throw ValidationError(
                "Say which processes: one of --unit NAME, --cgroup PATH, --pid PID, --container ID and --pod-uid UID.")
        }
        if let pid = self.pid, pid <= 0 { throw ValidationError("--pid wants a process number.") }
    }

    /// The cgroup's directory. Only a unit's need not be there.
    func resolve() throws(CLIError) -> String {
        if let pid = self.pid { return try CgroupPath.of(pid: pid) }
        if let cgroup = self.cgroup { return try CgroupPath.resolve(cgroup) }
        let locator = try CgroupPath.locator()
        do throws(CgroupLocator.Failure) {
            if let id = self.container { return try locator.container(id) }
            if let uid = self.podUid { return try locator.pod(uid: uid) }
            return try locator.unit(self.unit ?? "").path
        } catch {
            throw CLIError(error.description, status: .notFound)
        }
    }
}
