// SPDX-License-Identifier: Apache-2.0

import MeshSteering

/// Takes a node out of its mesh: the daemon, what it has in the kernel, and what it keeps on disk.
struct NodeRemoval {
    private let host: any NodeHost
    private let unit: DaemonUnit
    private let config: String
    private let instance: String
    private let dataDirectory: String
    private let runDirectory: String
    private let workloadsDirectory: String
    private let leaving: Leaving
    private let purges: Bool
    private let isUnit: Bool
    private let pinned: Int

    /// How long a daemon may take to end, in tenths of a second; its unit gives it thirty seconds.
    private static let patience = 400

    /// - Parameters: nil: as the configuration file says, or the daemon's own default.
    init(
        host: any NodeHost, config: String, instance: String?, dataDirectory: String?, runDirectory: String?,
        leaving: Leaving, purges: Bool
    ) throws(CLIError) {
        let settings = SettingsText(try host.text(of: config) ?? "")
        self.host = host
        self.unit = DaemonUnit(host: host)
        self.config = config
        self.instance = instance ?? settings.value(of: "instance") ?? "default"
        self.dataDirectory = dataDirectory ?? settings.value(of: "dataDir") ?? "/var/lib/nodemesh"
        self.runDirectory = runDirectory ?? settings.value(of: "runDir") ?? "/run/nodemesh"
        self.workloadsDirectory = settings.value(of: "workloadsDirectory") ?? "/etc/nodemesh/workloads.d"
        self.leaving = leaving
        self.purges = purges
        // The unit runs the instance of its configuration, not one that was named.
        let isNamed = instance != nil || dataDirectory != nil || runDirectory != nil
        self.isUnit = isNamed ? false : try self.unit.isKnown
        do throws(SteeringError) {
            self.pinned = try host.pinned(instance: self.instance)
        } catch {
            throw CLIError(error.message)
        }
    }

    private var socket: String { "\(self.runDirectory)/nodemeshd.sock" }

    private var files: [String] {
        [self.dataDirectory, self.runDirectory]
            + (self.purges ? [self.config, self.workloadsDirectory] : [])
    }

    /// What ``carryOut()`` does, after "would".
    var plan: [String] {
        var lines: [String] = []
        if self.isUnit { lines.append("stop and disable \(DaemonUnit.name)") }
        if let process = self.host.process(listeningAt: self.socket), !self.isUnit {
            lines.append("stop nodemeshd, process \(process)")
        }
        switch self.leaving {
        case .open:
            lines.append(
                "take \(self.pinned) programs and maps of instance \(self.instance) out of the kernel; connections of "
                    + "its workloads into the mesh would go in clear text")
        case .refused:
            lines.append(
                "leave \(self.pinned) programs and maps of instance \(self.instance) in the kernel, to refuse "
                    + "connections of its workloads into the mesh")
        }
        return lines + self.files.filter(self.host.exists).map { "remove \($0)" }
    }

    /// - Returns: what was done.
    func carryOut() async throws(CLIError) -> [String] {
        var lines: [String] = []
        if self.isUnit {
            try self.unit.disableAndStop()
            lines.append("\(DaemonUnit.name) is stopped and disabled")
        }
        if let process = self.host.process(listeningAt: self.socket) {
            self.host.terminate(process)
            lines.append("nodemeshd, process \(process), was told to stop")
        }
        try await self.detach()
        switch self.leaving {
        case .open:
            lines.append(
                self.pinned == 0
                    ? "Nothing of instance \(self.instance) was in the kernel"
                    : "\(self.pinned) programs and maps of instance \(self.instance) are out of the kernel")
        case .refused:
            lines.append(
                "\(self.pinned) programs and maps of instance \(self.instance) stay in the kernel and refuse; to take "
                    + "them out: nodemeshctl uninstall-node --leave open --yes")
        }
        for file in self.files where self.host.exists(file) {
            try self.host.remove(file)
            lines.append("\(file) is removed")
        }
        return lines
    }

    /// Waits for a daemon that is ending.
    private func detach() async throws(CLIError) {
        var attempts = 0
        while true {
            do throws(SteeringError) {
                return try self.host.detach(instance: self.instance, leaving: self.leaving)
            } catch {
                attempts += 1
                guard error.code == .inUse, attempts < Self.patience else {
                    throw CLIError(
                        error.message,
                        hints: error.code == .inUse
                            ? ["It is no service and does not answer at \(self.socket): end it, or give its --run-dir."]
                            : [])
                }
            }
            await self.host.pause(milliseconds: 100)
        }
    }
}
