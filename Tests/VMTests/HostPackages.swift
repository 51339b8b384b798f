// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

/// The Debian packages of this build, in two versions that differ in nothing else.
struct HostPackages: Sendable {
    static let versions = ["0.1.0", "0.1.1"]
    /// By version: where its packages are.
    let directories: [String: String]

    /// Made once, by whoever comes first.
    static let built = Task { try await HostPackages() }

    private init() async throws {
        let work = Hosts.root.appending(path: ".build/test-packages").path
        // As for the lab: of another build than the tests'.
        let binaries = ProcessInfo.processInfo.environment["NODEMESH_BIN"] ?? ".build/debug"
        var directories: [String: String] = [:]
        for version in Self.versions {
            let directory = "\(work)/\(version)"
            let answer = try await Hosts.run(
                "Tools/package",
                ["--binaries", binaries, "--version", version, "--compression", "none", "--output", directory])
            try #require(answer.status == 0, "\(answer)")
            directories[version] = directory
        }
        self.directories = directories
    }

    /// Copies a version's packages to a host, `/root/VERSION`.
    func copy(_ version: String, to host: String, _ hosts: Hosts) async throws {
        let directory = try #require(self.directories[version])
        try await hosts.run(host, "mkdir", "-p", "/root/\(version)")
        let files = try FileManager.default.contentsOfDirectory(atPath: directory).map { "\(directory)/\($0)" }
        try await hosts.tool(["copy", host] + files + ["/root/\(version)"])
    }

    /// What apt is told to install these from `/root/VERSION`.
    static func files(_ version: String, _ names: [String]) -> String {
        // A release build has no package of libraries.
        names.map { "/root/\(version)/\($0)_*.deb" }.joined(separator: " ")
            + " $(ls /root/\(version)/nodemesh-runtime_*.deb 2>/dev/null || true)"
    }
}

extension Hosts {
    /// Installs packages of a version with apt, as an operator does.
    func install(_ names: [String], version: String = HostPackages.versions[0], on host: String) async throws {
        try await HostPackages.built.value.copy(version, to: host, self)
        try await self.shell(
            host,
            "apt-get install -y -q --no-install-recommends --allow-downgrades "
                + HostPackages.files(version, names) + " </dev/null 2>&1")
    }
}
