// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshConfiguration
import MeshLinux

/// What SIGHUP reads again: the configuration, of which some keys take effect at once, and the enrolment files.
final class Reloader: Sendable {
    let live: LiveConfiguration<AgentConfiguration>
    typealias Reading = ConfigurationReading<AgentConfiguration>

    private let attempt: @Sendable (_ now: AgentConfiguration, _ next: Reading) -> [String]
    private let apply: @Sendable (AgentConfiguration) -> Void
    private let logger: Logger

    /// - Parameters:
    ///   - attempt: makes the live keys so that may not be possible; returns why they cannot be.
    ///   - apply: makes the others so; called for each reload that changed one.
    init(
        _ live: LiveConfiguration<AgentConfiguration>, logger: Logger,
        attempt: @escaping @Sendable (_ now: AgentConfiguration, _ next: Reading) -> [String] = { _, _ in [] },
        apply: @escaping @Sendable (AgentConfiguration) -> Void
    ) {
        self.live = live
        self.logger = logger
        self.attempt = attempt
        self.apply = apply
    }

    /// What is in force.
    var configuration: AgentConfiguration { self.live.current }

    func reloadConfiguration() {
        let now = self.configuration
        let outcome = self.live.reload { self.attempt(now, $0) }
        if !outcome.applied.isEmpty { self.apply(self.configuration) }
        outcome.log(to: self.logger, program: self.live.table.program)
    }

    /// What the enrolment files declare now.
    func files() -> EnrolmentFiles {
        let mount = (try? Cgroup.mountPoint()) ?? "/sys/fs/cgroup"
        return EnrolmentFiles.read(
            directory: self.configuration.workloadsDirectory, locator: try? CgroupLocator(), mount: mount)
    }
}
