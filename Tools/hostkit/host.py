# SPDX-License-Identifier: Apache-2.0
"""One host: systemd as process 1 in namespaces of its own, over a layer of memory on the common root file system.

It has a cgroup v2 tree, a network namespace and a bpf file system to itself; the kernel is this machine's. systemd-nspawn
starts it without asking a systemd here, so that the machine need not have been booted by one.
"""

import os
import signal
import subprocess
import time
from pathlib import Path

from .base import HostError, quietly

# Of two cgroup layouts at once ("hybrid") the hosts use the second.
CGROUPS = [place for place in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup") if Path(place, "cgroup.procs").exists()]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BOOT_SECONDS = 60


class Host:
    def __init__(self, lab, directory, name, number):
        self.name = name
        self.number = number
        self.place = Path(directory, name)
        self.namespace = f"nmh-{lab}-{name}"
        self.address = f"192.0.2.{number}"
        self.cgroups = [Path(place, f"nodemesh-host-{lab}-{name}") for place in CGROUPS[:1]]
        # Where there still is a version 1 hierarchy for systemd, its processes must leave this machine's.
        if Path("/sys/fs/cgroup/systemd/cgroup.procs").exists():
            self.cgroups.append(Path("/sys/fs/cgroup/systemd", f"nodemesh-host-{lab}-{name}"))

    # MARK: Life

    def make(self, base):
        """Its disk and its network namespace."""
        if not CGROUPS:
            raise HostError("cgroup v2 is not mounted")
        memory = self.place / "memory"
        memory.mkdir(parents=True)
        (self.place / "root").mkdir()
        (self.place / "bpf").mkdir()
        quietly("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", memory)
        for part in ("upper", "work"):
            (memory / part).mkdir()
        quietly("mount", "-t", "overlay", "overlay", "-o",
                f"lowerdir={base},upperdir={memory}/upper,workdir={memory}/work", self.place / "root")
        (self.place / "root/etc/hostname").write_text(self.name + "\n")
        quietly("ip", "netns", "add", self.namespace)
        quietly("ip", "-n", self.namespace, "link", "set", "lo", "up")

    def boot(self):
        """Starts it with an empty bpf file system, as after a reboot, and waits until its systemd has started all."""
        quietly("mount", "-t", "bpf", "-o", "mode=700", "bpf", self.place / "bpf")
        for cgroup in self.cgroups:
            cgroup.mkdir(exist_ok=True)

        def enter():
            os.setsid()
            for cgroup in self.cgroups:
                (cgroup / "cgroup.procs").write_text(str(os.getpid()))

        # bpf(2) and its like are not for containers by systemd-nspawn's own judgement; here they are the point.
        command = [
            "systemd-nspawn", "--boot", "--register=no", "--keep-unit", "--quiet", "--console=pipe",
            f"--directory={self.place}/root", f"--machine={self.name}", "--private-users=no", "--capability=all",
            f"--network-namespace-path=/run/netns/{self.namespace}", f"--bind={self.place}/bpf:/sys/fs/bpf",
            "--system-call-filter=@known", "--resolv-conf=off", "--timezone=off", "--link-journal=no",
        ]
        environment = dict(os.environ, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1", SYSTEMD_NSPAWN_API_VFS_WRITABLE="1",
                           SYSTEMD_NSPAWN_LOCK="0")
        with open(self.place / "console", "ab") as console:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                                       preexec_fn=enter, env=environment, cwd="/")
        (self.place / "pid").write_text(str(process.pid))
        deadline = time.monotonic() + BOOT_SECONDS * float(os.environ.get("NODEMESH_PATIENCE", "1"))
        while True:
            if process.poll() is not None:
                raise HostError(f"{self.name} ended: {self.console()}")
            state = self.run("systemctl", "is-system-running") if self.leader() else None
            if state and state.stdout.strip() in ("running", "degraded"):
                return
            if time.monotonic() > deadline:
                raise HostError(f"{self.name} did not come up: {self.console()}")
            time.sleep(0.1)

    def console(self):
        text = (self.place / "console").read_text(errors="replace")
        return text[-2000:]

    def halt(self, orderly):
        """Ends it, by its own systemd or by force; pins in its bpf file system go, as with a machine's power."""
        pid = self.supervisor()
        if pid and orderly:
            self.run("systemctl", "poweroff")
            deadline = time.monotonic() + BOOT_SECONDS
            while self.supervisor() and time.monotonic() < deadline:
                time.sleep(0.1)
        for cgroup in self.cgroups[:1]:
            if (cgroup / "cgroup.kill").exists():
                (cgroup / "cgroup.kill").write_text("1")
        deadline = time.monotonic() + BOOT_SECONDS
        while any(not remove(cgroup) for cgroup in self.cgroups):
            if time.monotonic() > deadline:
                raise HostError(f"the cgroups of {self.name} do not go")
            time.sleep(0.05)
        subprocess.run(["umount", "-l", self.place / "bpf"], capture_output=True)

    def remove(self):
        """Everything of it."""
        self.halt(orderly=False)
        for part in ("root", "memory"):
            subprocess.run(["umount", "-l", self.place / part], capture_output=True)
        subprocess.run(["ip", "netns", "del", self.namespace], capture_output=True)
        subprocess.run(["rm", "-rf", "--one-file-system", self.place], check=True)

    # MARK: Inside

    def supervisor(self):
        """systemd-nspawn's process, while it runs."""
        try:
            pid = int((self.place / "pid").read_text())
            return pid if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd-nspawn" and not zombie(pid) else None
        except (OSError, ValueError):
            return None

    def leader(self):
        """Its process 1, by its number here; None while there is none."""
        pid = self.supervisor()
        if not pid:
            return None
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            for child in children:
                status = Path(f"/proc/{child}/status").read_text()
                numbers = next((line for line in status.splitlines() if line.startswith("NSpid:")), "").split()
                if numbers[-1:] == ["1"] and len(numbers) > 2:
                    return int(child)
        except OSError:
            pass
        return None

    def command(self, words):
        """What runs `words` in there."""
        leader = self.leader()
        if not leader:
            raise HostError(f"{self.name} does not run")
        return ["nsenter", "-t", str(leader), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--",
                "env", "-i", f"PATH={PATH}", "HOME=/root", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", *words]

    def run(self, *words):
        return subprocess.run(self.command(words), stdin=subprocess.DEVNULL, capture_output=True, text=True)


def zombie(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def remove(cgroup):
    """Whether the cgroup and those below it are gone."""
    for path, _, _ in os.walk(cgroup, topdown=False):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            pass
        except OSError:
            for pid in Path(path, "cgroup.procs").read_text().split():
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            return False
    return True
