// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

extension InstallationTests {
    /// Control plane and node on alpha, a node on beta, a client on the first and a server on the second.
    func makeMesh(_ hosts: Hosts) async throws {
        try await hosts.install(["nodemesh-control", "nodemeshd", "nodemeshctl"], on: "alpha")
        try await hosts.install(["nodemeshd", "nodemeshctl"], on: "beta")
        try await hosts.shell(
            "alpha",
            "printf 'advertise: [192.0.2.1:15012]\\nmeshPrefixes: [192.0.2.0/24]\\n' >/etc/nodemesh/nodemesh-control.yaml;"
                + "systemctl restart nodemesh-control")
        for host in ["alpha", "beta"] { try await self.join(host, hosts) }
        try await hosts.shell("beta", "cat >/root/server.py <<'END'\n\(Self.server)\nEND")
        try await hosts.shell(
            "alpha",
            "echo 'echo $$ >/sys/fs/cgroup/system.slice/client.service/cgroup.procs;"
                + " exec python3 /root/reader.py >/tmp/read 2>&1' >/root/reader.sh")
        try await hosts.shell("alpha", "cat >/root/reader.py <<'END'\n\(Self.reader)\nEND")
        try await self.makeUnit("server", "/usr/bin/python3 /root/server.py", on: "beta", hosts)
        try await self.makeUnit("client", "/usr/bin/sleep infinity", on: "alpha", hosts)
        try await hosts.run(
            "beta", "nodemeshctl", "workload", "enroll", "--unit", "server.service", "--namespace", "shop",
            "--service-account", "server")
        try await hosts.run(
            "alpha", "nodemeshctl", "workload", "enroll", "--unit", "client.service", "--namespace", "shop",
            "--service-account", "client")
        try await self.expectTalk(hosts)
    }

    func makeUnit(_ name: String, _ command: String, on host: String, _ hosts: Hosts) async throws {
        try await hosts.shell(
            host,
            """
            cat >/etc/systemd/system/\(name).service <<'END'
            [Unit]
            Requires=nodemesh-workloads.target
            After=nodemesh-workloads.target
            [Service]
            ExecStart=\(command)
            [Install]
            WantedBy=multi-user.target
            END
            systemctl enable --quiet --now \(name)
            """)
    }

    /// The line that the control plane prints, as an operator pastes it.
    func line(for host: String, _ hosts: Hosts) async throws -> String {
        let printed = try await hosts.run("alpha", "nodemeshctl", "join-token", "create", "--node", host)
        let line = printed.split(separator: "\n").map { $0.drop { $0 == " " } }.first {
            $0.hasPrefix("sudo nodemeshctl install-node ")
        }
        return String(try #require(line, "\(printed)").dropFirst("sudo ".count))
    }

    func join(_ host: String, _ hosts: Hosts) async throws {
        try await hosts.eventually("the control plane") {
            try await hosts.answer("alpha", "nodemeshctl", "node", "list")
        } _: {
            $0.status == 0
        }
        let shown = try await hosts.shell(host, "\(try await self.line(for: host, hosts)) 2>&1")
        #expect(shown.contains("spiffe://mesh.internal/node/\(host)"), "\(shown)")
    }

    /// A new connection of the client, as it stands in the server's node's list.
    func expectTalk(_ hosts: Hosts) async throws {
        try await hosts.eventually("the client to reach the server") {
            try await hosts.within(
                "client.service", on: "alpha", "timeout 10 bash -c 'head -n 1 </dev/tcp/192.0.2.2/8080'")
        } _: {
            $0.output == "000000000000000\n"
        }
    }

    /// Runs `body` while the client reads from the server.
    func transferring(_ hosts: Hosts, _ body: () async throws -> Void) async throws -> String {
        try await hosts.run("alpha", "rm", "-f", "/tmp/stop", "/tmp/read")
        // A service of its own starts it: what outlives its caller would keep the caller's descriptors.
        try await hosts.run(
            "alpha", "systemd-run", "--quiet", "--collect", "--unit=reader", "bash", "/root/reader.sh")
        func lines() async throws -> Int {
            Int(try await hosts.shell("alpha", "wc -l </tmp/read")) ?? 0
        }
        try await hosts.eventually("the transfer") {
            try await lines()
        } _: {
            $0 > 3
        }
        try await body()
        // And it still moves.
        let before = try await lines()
        try await hosts.eventually("the transfer to go on or to end") {
            (try await lines(), try await hosts.answer("alpha", "pgrep", "-f", "reader.py").status)
        } _: {
            $0.0 > before + 3 || $0.1 != 0
        }
        try await hosts.run("alpha", "touch", "/tmp/stop")
        try await hosts.eventually("the client to end") {
            try await hosts.answer("alpha", "pgrep", "-f", "reader.py").status
        } _: {
            $0 != 0
        }
        return try await hosts.run("alpha", "tail", "-n", "1", "/tmp/read")
    }

    func pid(_ host: String, of unit: String = "nodemeshd", _ hosts: Hosts) async throws -> String {
        try await hosts.run(host, "systemctl", "show", "-P", "MainPID", unit)
    }

    /// Every path of the root file system but those that any package leaves.
    func files(_ host: String, _ hosts: Hosts) async throws -> Set<String> {
        let listed = try await hosts.shell(
            host,
            "find / -xdev -not -path '/var/lib/dpkg/*' -not -path '/var/log/*' -not -path '/var/cache/*'"
                + " -not -path '/root/*' -not -path '/tmp/*' -not -path '/var/tmp/*' -not -path '/var/lib/apt/*'; find /sys/fs/bpf"
        )
        return Set(listed.split(separator: "\n").map(String.init))
    }

    /// What the hand-over and the watchdog need of systemd, in running units.
    func expectProperties(_ hosts: Hosts) async throws {
        for (unit, descriptors) in [("nodemeshd", "4096"), ("nodemesh-control", "0")] {
            let shown = try await hosts.run(
                "alpha", "systemctl", "show", "-p", "NotifyAccess,WatchdogUSec,ExecReload,FileDescriptorStoreMax", unit)
            for expected in [
                "NotifyAccess=main", "WatchdogUSec=30s", "argv[]=/bin/kill -HUP $MAINPID",
                "FileDescriptorStoreMax=\(descriptors)",
            ] {
                #expect(shown.contains(expected), "\(unit): \(shown)")
            }
        }
        // What is there for a crash.
        try await hosts.eventually("descriptors in the store") {
            Int(try await hosts.run("alpha", "systemctl", "show", "-P", "NFileDescriptorStore", "nodemeshd")) ?? 0
        } _: {
            $0 > 0
        }
    }

    /// A reload, restarts, upgrades, downgrades and a crash, none of which ends a transfer but the crash.
    func disturb(_ hosts: Hosts) async throws {
        // A reload changes what it can, and ends nothing.
        let first = try await self.pid("beta", hosts)
        let server = try await self.pid("beta", of: "server", hosts)
        let read = try await self.transferring(hosts) {
            try await hosts.shell(
                "beta", "echo 'logLevel: debug' >>/etc/nodemesh/nodemeshd.yaml; systemctl reload nodemeshd")
            try await self.expectTalk(hosts)
        }
        #expect(read == "well")
        #expect(try await self.pid("beta", hosts) == first)
        let control = try await self.pid("alpha", of: "nodemesh-control", hosts)
        try await hosts.shell(
            "alpha", "echo 'logLevel: debug' >>/etc/nodemesh/nodemesh-control.yaml; systemctl reload nodemesh-control")
        try await hosts.eventually("the control plane to read its configuration") {
            try await hosts.run("alpha", "journalctl", "--no-pager", "-o", "cat", "-u", "nodemesh-control")
        } _: {
            $0.contains("configuration changed")
        }
        #expect(try await self.pid("alpha", of: "nodemesh-control", hosts) == control)

        for host in ["alpha", "beta"] {
            let read = try await self.transferring(hosts) {
                try await hosts.run(host, "systemctl", "restart", "nodemeshd")
                try await self.expectTalk(hosts)
            }
            #expect(read == "well", "a restart on \(host)")
        }
        for version in HostPackages.versions.reversed() {
            for host in ["alpha", "beta"] {
                let old = try await self.pid(host, hosts)
                let read = try await self.transferring(hosts) {
                    // All of a host at once: a development build's packages need the same version of its libraries.
                    let names = ["nodemeshd", "nodemeshctl"] + (host == "alpha" ? ["nodemesh-control"] : [])
                    try await hosts.install(names, version: version, on: host)
                    try await self.expectTalk(hosts)
                }
                #expect(read == "well", "version \(version) on \(host)")
                #expect(try await self.pid(host, hosts) != old)
                #expect(try await hosts.run(host, "dpkg-query", "-W", "-f", "${Version}", "nodemeshd") == version)
            }
        }
        // Killed, it is started again by itself, and no connection goes out in clear meanwhile.
        let old = try await self.pid("beta", hosts)
        try await hosts.run("beta", "kill", "-9", old)
        try await hosts.eventually("another process") {
            try await self.pid("beta", hosts)
        } _: {
            $0 != old && $0 != "0"
        }
        try await self.expectTalk(hosts)

        // None of this was the workloads' business.
        #expect(try await self.pid("beta", of: "server", hosts) == server)
    }
}
