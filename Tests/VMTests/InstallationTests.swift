// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

/// The packages and units with the real package tools and a real systemd.
@Suite(.serialized) struct InstallationTests {
    /// A unit for what the tests talk to: a server that writes numbered lines for as long as somebody reads.
    static let server = """
        import socket, threading
        def serve(connection):
            with connection:
                number = 0
                try:
                    while True:
                        connection.sendall(b"".join(b"%015d\\n" % (number + one) for one in range(1024)))
                        number += 1024
                except OSError:
                    pass
        listener = socket.create_server(("0.0.0.0", 8080))
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
        """

    /// Reads from the server, slowly, until /tmp/stop is there; says what is wrong with the numbers, if anything is.
    static let reader = """
        import os, socket, sys, time
        connection = socket.create_connection(("192.0.2.2", 8080), timeout=60)
        number, rest = 0, b""
        while not os.path.exists("/tmp/stop"):
            rest += connection.recv(65536) or sys.exit("ended after %d" % number)
            while len(rest) >= 16:
                if rest[:16] != b"%015d\\n" % number: sys.exit("wrong at %d" % number)
                number, rest = number + 1, rest[16:]
            print(number, flush=True)
            time.sleep(0.01)
        print("well")
        """

    /// What every line of the server begins with.
    static let clearText = "0000000"

    @Test func `a host where the packages come and go`() async throws {
        try await Hosts.with("alpha") { hosts in
            let before = try await self.files("alpha", hosts)
            try await hosts.install(["nodemesh-control", "nodemeshd", "nodemeshctl"], on: "alpha")
            // The control plane works at once; the node waits to be joined, and is no failure.
            try await hosts.eventually("the control plane") {
                try await hosts.answer("alpha", "nodemeshctl", "join-token", "create")
            } _: {
                $0.status == 0 && $0.output.contains("sudo nodemeshctl install-node --control alpha:15012")
            }
            let shown = try await hosts.shell(
                "alpha", "systemctl show -P ActiveState -P ConditionResult -P NRestarts nodemeshd")
            #expect(shown.split(separator: "\n").sorted() == ["0", "inactive", "no"], "\(shown)")
            #expect(try await hosts.run("alpha", "systemctl", "--failed", "--no-legend").isEmpty)
            let verified = try await hosts.answer(
                "alpha", "systemd-analyze", "verify", "--man=no", "nodemeshd.service", "nodemesh-control.service",
                "nodemesh-workloads.target", "nodemesh-ready.service")
            #expect(verified.status == 0 && verified.output.isEmpty, "\(verified)")
            let user = try await hosts.shell(
                "alpha", "stat -c %U /proc/$(systemctl show -P MainPID nodemesh-control)")
            #expect(user == "nodemesh-control")
            for (daemon, file) in [("nodemeshd", "nodemeshd"), ("nodemesh-control", "nodemesh-control")] {
                // Every key of it is a comment, and it is what the program takes.
                let text = try await hosts.run("alpha", "cat", "/etc/nodemesh/\(file).yaml")
                #expect(
                    text.split(separator: "\n").allSatisfy { $0.hasPrefix("#") } && text.contains("#logLevel: info"))
                #expect(text == (try await hosts.run("alpha", "nodemeshctl", "config", "default", "--daemon", daemon)))
            }
            // What the README says of them, in tenths.
            for (unit, exposure) in [("nodemeshd", 31), ("nodemesh-control", 12)] {
                let judged = try await hosts.answer(
                    "alpha", "systemd-analyze", "security", "--no-pager", "--threshold=\(exposure)", "\(unit).service")
                #expect(judged.status == 0, "\(judged.output.suffix(200))")
            }
            let documents = [
                "/usr/share/man/man8/nodemeshd.8.gz", "/usr/share/man/man8/nodemesh-control.8.gz",
                "/usr/share/man/man1/nodemeshctl.1.gz", "/usr/share/man/man1/nodemeshctl-install-node.1.gz",
                "/usr/share/man/man5/nodemeshd.yaml.5.gz", "/usr/share/man/man5/nodemesh-control.yaml.5.gz",
                "/usr/share/bash-completion/completions/nodemeshctl", "/usr/share/zsh/vendor-completions/_nodemeshctl",
                "/usr/share/fish/vendor_completions.d/nodemeshctl.fish", "/usr/share/doc/nodemeshd/changelog.gz",
            ]
            try await hosts.shell("alpha", documents.map { "test -s \($0)" }.joined(separator: "\n"))
            try await hosts.shell(
                "alpha",
                "apt-get purge -y -q 'nodemesh*' </dev/null 2>&1; ! getent passwd | grep nodemesh | grep -v nologin")
            let after = try await self.files("alpha", hosts)
            #expect(after.subtracting(before).sorted() == [])
        }
    }

    @Test func `a host that cannot be joined is told why, and stays as it was`() async throws {
        try await Hosts.with("alpha", "beta") { hosts in
            try await hosts.install(["nodemesh-control", "nodemeshctl"], on: "alpha")
            try await hosts.shell(
                "alpha",
                "echo 'advertise: [192.0.2.1:15012]' >/etc/nodemesh/nodemesh-control.yaml; systemctl restart nodemesh-control"
            )
            try await hosts.install(["nodemeshctl"], on: "beta")
            try await hosts.eventually("the control plane") {
                try await hosts.answer("alpha", "nodemeshctl", "node", "list")
            } _: {
                $0.status == 0
            }
            let line = try await self.line(for: "beta", hosts)
            func attempt(_ line: String) async throws -> Hosts.Answer {
                try await hosts.answer("beta", "bash", "-c", line)
            }
            let missing = try await attempt(line)
            #expect(missing.status == 4 && missing.output.contains("nodemeshd is not installed here"), "\(missing)")
            try await hosts.install(["nodemeshd"], on: "beta")
            let before = try await hosts.run("beta", "cat", "/etc/nodemesh/nodemeshd.yaml")

            let user = try await attempt("setpriv --reuid nobody --clear-groups \(line)")
            #expect(user.status == 1 && user.output.contains("this needs root"), "\(user)")
            let forged = try await attempt(
                line.replacing(/sha256:[0-9a-f]{64}/, with: "sha256:" + String(repeating: "0", count: 64)))
            #expect(forged.status == 1 && forged.output.contains("is not this mesh's control plane"), "\(forged)")
            let away = try await attempt(line.replacing("192.0.2.1:15012", with: "192.0.2.1:1"))
            #expect(away.status == 1 && away.output.contains("cannot be reached"), "\(away)")
            let other = try await attempt("\(line) --node gamma")
            #expect(
                other.status == 1 && other.output.contains("the join token is for the node beta, not gamma"), "\(other)"
            )
            #expect(try await hosts.run("beta", "cat", "/etc/nodemesh/nodemeshd.yaml") == before)
            #expect(try await hosts.answer("beta", "ls", "/run/nodemesh-join-token").status != 0)
            #expect(try await hosts.run("beta", "systemctl", "show", "-P", "ActiveState", "nodemeshd") == "inactive")

            // None of that has cost the token; joining does, and joining again needs none.
            let joined = try await attempt(line)
            #expect(joined.status == 0, "\(joined)")
            let again = try await attempt(line)
            #expect(again.status == 0, "\(again)")
            let settings = try await hosts.run("beta", "cat", "/etc/nodemesh/nodemeshd.yaml")
            #expect(settings.contains("\ncontrolPlane: 192.0.2.1:15012\n") && !settings.contains(/nmjt\.[-_0-9A-Za-z]/))
            #expect(settings.contains("\n#logLevel: info\n"))
            try await hosts.run("beta", "nodemeshctl", "uninstall-node", "--leave", "open", "--yes")
            let used = try await attempt(line)
            #expect(used.status == 1 && used.output.contains("was already used by the node beta"), "\(used)")
        }
    }

    @Test func `restart, upgrade, downgrade, crash and reboot of a node under traffic`() async throws {
        try await Hosts.with("alpha", "beta") { hosts in
            try await self.makeMesh(hosts)
            try await self.expectProperties(hosts)
            let wire = try await WireCapture.during(hosts) { try await self.disturb(hosts) }
            #expect(wire.tunnelPackets > 0)
            #expect(!wire.shows(Self.clearText))

            // The workload starts after the daemon that protects it.
            try await hosts.tool(["reboot", "beta"])
            try await self.expectTalk(hosts)
            let times = try await hosts.shell(
                "beta",
                "systemctl show -P ActiveEnterTimestampMonotonic nodemeshd; systemctl show -P InactiveExitTimestampMonotonic server"
            ).split(separator: "\n").compactMap { Int($0) }
            #expect(times.count == 2 && times[0] > 0 && times[0] < times[1], "\(times)")
        }
    }

    @Test func `a node that leaves its mesh`() async throws {
        try await Hosts.with("alpha", "beta") { hosts in
            try await self.makeMesh(hosts)
            func dial() async throws -> Hosts.Answer {
                try await hosts.within(
                    "client.service", on: "alpha", "timeout 10 bash -c 'head -n 1 </dev/tcp/192.0.2.2/8080'")
            }
            let plan = try await hosts.answer("alpha", "nodemeshctl", "uninstall-node", "--leave", "open")
            #expect(plan.status == 1 && plan.output.contains("Would stop and disable nodemeshd.service"), "\(plan)")
            try await self.expectTalk(hosts)

            // Refused, whatever the fail mode was.
            try await hosts.shell(
                "alpha", "echo 'failMode: open' >>/etc/nodemesh/nodemeshd.yaml; systemctl reload nodemeshd")
            try await hosts.run("alpha", "nodemeshctl", "uninstall-node", "--leave", "refused", "--yes")
            let refused = try await dial()
            #expect(refused.status != 0 && refused.output.contains("refused"), "\(refused)")
            #expect(try await hosts.answer("alpha", "test", "-e", "/var/lib/nodemesh").status != 0)

            // Open: nothing is left of it, and the client goes on in clear text.
            try await hosts.run("alpha", "nodemeshctl", "uninstall-node", "--leave", "open", "--yes")
            let left = try await hosts.shell(
                "alpha",
                """
                find /sys/fs/bpf -mindepth 1 ! -name '*.debug'; find /run/nodemesh 2>/dev/null || true
                ss -Hltun | grep -E ':(15001|15006|15008|15020|15021|1505[345]) ' || true
                find /sys/fs/cgroup -name '*nodemesh*' ! -name 'nodemesh-control.service' ! -name 'nodemesh-ready.service'
                """)
            #expect(left.isEmpty, "\(left)")
            let wire = try await WireCapture.during(hosts) { try await self.expectTalk(hosts) }
            #expect(wire.shows(Self.clearText))
            // Of the server's node, whose daemon is dead, the package takes it all away.
            try await hosts.shell("beta", "systemctl kill -s KILL nodemeshd; systemctl stop nodemeshd")
            try await hosts.shell(
                "beta", "apt-get remove -y -q nodemeshd </dev/null 2>&1 | grep 'apt-get purge nodemeshd'")
            #expect(try await dial().status != 0)
            try await hosts.shell("beta", "apt-get purge -y -q nodemeshd </dev/null 2>&1")
            let rest = try await hosts.shell(
                "beta",
                "find /sys/fs/bpf -mindepth 1 ! -name '*.debug'; ls -d /var/lib/nodemesh /run/nodemesh /etc/nodemesh 2>/dev/null || true"
            )
            #expect(rest.isEmpty, "\(rest)")
            let clear = try await dial()
            #expect(clear.output == "000000000000000\n", "\(clear)")
            #expect(try await hosts.run("beta", "systemctl", "is-active", "server") == "active")
        }
    }
}
