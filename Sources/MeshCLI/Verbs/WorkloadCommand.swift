// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// `workload`
package struct WorkloadCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "workload",
        abstract: "Enrol, unenrol and list workloads.",
        discussion: "A workload is a cgroup v2 and everything in it: a systemd unit, a container, a process tree.",
        subcommands: [WorkloadEnroll.self, WorkloadUnenroll.self, WorkloadList.self])

    package init() {}
}
