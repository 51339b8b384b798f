// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshLinux
import Synchronization

/// What SIGHUP reads again: the configuration, of which some keys take effect at once, and the enrolment files.
final class Reloader: Sendable {
    /// Keys that take effect without a restart.
    static let live: Set<String> = [
        "failMode", "excludePorts", "excludePrefixes", "excludeInboundPorts", "probeCgroups", "workloadsDirectory",
        "canaryInterval",
    ]

    private let read: @Sendable () throws(ConfigurationError) -> AgentConfiguration
    private let apply: @Sendable (AgentConfiguration) -> Void
    private let current: Mutex<AgentConfiguration>
    private let logger: Logger

    /// - Parameters:
    ///   - read: reads file and command line as at the start.
    ///   - apply: makes the live keys so; called for each reload that found no fault.
    init(
        _ configuration: AgentConfiguration, logger: Logger,
        read: @escaping @Sendable () throws(ConfigurationError) -> AgentConfiguration,
        apply: @escaping @Sendable (AgentConfiguration) -> Void
    ) {
        self.current = Mutex(configuration)
        self.logger = logger
        self.read = read
        self.apply = apply
    }

    /// What is in force.
    var configuration: AgentConfiguration { self.current.withLock { $0 } }

    func reloadConfiguration() {
        let next: AgentConfiguration
        do throws(ConfigurationError) {
            next = try self.read()
        } catch {
            for problem in error.problems {
                self.logger.error("the configuration stays as it was", metadata: ["problem": "\(problem)"])
            }
            return
        }
        let (old, new) = (self.configuration.description, next.description)
        let changed = Set(new.keys.filter { old[$0] != new[$0] })
        guard !changed.isEmpty else { return }
        let effective = self.current.withLock { current in
            current.failMode = next.failMode
            current.excludePorts = next.excludePorts
            current.excludePrefixes = next.excludePrefixes
            current.excludeInboundPorts = next.excludeInboundPorts
            current.probeCgroups = next.probeCgroups
            current.workloadsDirectory = next.workloadsDirectory
            current.canaryInterval = next.canaryInterval
            return current
        }
        self.apply(effective)
        let (now, later) = (changed.intersection(Self.live).sorted(), changed.subtracting(Self.live).sorted())
        if !now.isEmpty {
            self.logger.info("configuration changed", metadata: ["keys": "\(now.joined(separator: ", "))"])
        }
        if !later.isEmpty {
            self.logger.warning(
                "these keys have changed and need a restart of nodemeshd",
                metadata: ["keys": "\(later.joined(separator: ", "))"])
        }
    }

    /// What the enrolment files declare now.
    func files() -> EnrolmentFiles {
        let mount = (try? Cgroup.mountPoint()) ?? "/sys/fs/cgroup"
        return EnrolmentFiles.read(
            directory: self.configuration.workloadsDirectory, locator: try? CgroupLocator(), mount: mount)
    }
}
