// SPDX-License-Identifier: Apache-2.0

import MeshLinux

/// nodemeshd as a service of systemd.
struct DaemonUnit {
    static let name = "nodemeshd.service"
    static let missing = CLIError(
        "nodemeshd is not installed here",
        hints: ["Install its package:  apt-get install ./nodemeshd_*.deb"], status: .notFound)

    let host: any NodeHost

    static func checkRoot(_ host: any NodeHost) throws(CLIError) {
        guard host.isRoot else { throw CLIError("this needs root", hints: ["Run the same with sudo."]) }
    }

    /// - Throws: unless systemd runs this machine and knows the unit, and the caller may tell it what to do.
    func checkInstalled() throws(CLIError) {
        try Self.checkRoot(self.host)
        guard self.host.hasSystemd else {
            throw CLIError(
                "this machine is not run by systemd",
                hints: ["Elsewhere:  nodemeshd join --help; then run nodemeshd under your own service manager."])
        }
        guard try self.isKnown else { throw Self.missing }
    }

    /// systemd has the unit's file.
    var isKnown: Bool {
        get throws(CLIError) {
            guard self.host.hasSystemd else { return false }
            let shown = try self.host.run(
                "systemctl", ["show", "--property=LoadState", "--value", "--", Self.name], isQuiet: true)
            return shown?.output.hasPrefix("loaded") == true
        }
    }

    func enableAndStart() throws(CLIError) {
        try self.systemctl("enable", "--quiet", Self.name)
        // It may have run before with another configuration.
        try self.systemctl("restart", Self.name)
    }

    /// Stops it, and has it not start again at boot.
    func disableAndStop() throws(CLIError) {
        try self.systemctl("disable", "--quiet", "--now", Self.name)
        _ = try self.host.run("systemctl", ["reset-failed", Self.name], isQuiet: true)
    }

    private func systemctl(_ arguments: String...) throws(CLIError) {
        let done = try self.host.run("systemctl", arguments, isQuiet: false)
        guard done?.code == 0 else {
            throw CLIError(
                "systemctl \(arguments.joined(separator: " ")) failed",
                hints: ["Why:  systemctl status nodemeshd; journalctl -u nodemeshd"])
        }
    }
}
