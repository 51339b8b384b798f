# SPDX-License-Identifier: Apache-2.0
"""What the lab asks of Linux: network namespaces, links, cgroups, mounts and processes in them.

`ip netns exec` is not used: it remounts /sys, so that bpffs and cgroup v2 vanish from its children's view.
"""

import contextlib
import ctypes
import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

CLONE_NEWNET, CLONE_NEWNS = 0x40000000, 0x00020000
MS_BIND, MS_REC, MS_SLAVE = 0x1000, 0x4000, 0x80000
NETNS = Path("/run/netns")
# How much longer everything may take: an emulated processor is slow. The integration tests read the same variable.
PATIENCE = float(os.environ.get("NODEMESH_PATIENCE") or 1)
_libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """Something that failed, and the log whose last lines tell why."""

    def __init__(self, text, log=None):
        super().__init__(text)
        self.log = log


def check(result, what):
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def run(*command, **options):
    """Runs a tool to its end; its standard error is the reason when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        text = (done.stderr or done.stdout).strip() or f"exit status {done.returncode}"
        raise LabError(f"{' '.join(map(str, command))}: {text}")
    return done.stdout


def wait_for(what, condition, seconds, log=None):
    """Polls until `condition` answers something true; a LabError with the last reason when it does not in time.

    The condition may raise: OSError and ValueError count as "not yet", anything else ends the wait.
    """
    seconds *= PATIENCE
    deadline = time.monotonic() + seconds
    reason = ""
    while True:
        try:
            answer = condition()
            if answer:
                return answer
        except (OSError, ValueError) as error:
            reason = f": {error}"
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {seconds:g} s{reason}", log)
        time.sleep(0.05)


# Mounts


def mount_of(kind):
    """Where a file system of this kind is mounted, or None."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        if right.split()[0] == kind:
            return Path(left.split()[4])
    return None


def cgroup2():
    found = mount_of("cgroup2")
    if found is None:
        raise LabError("cgroup v2 is not mounted; try: mount -t cgroup2 none /sys/fs/cgroup/unified")
    return found


def bpffs():
    found = mount_of("bpf")
    if found is None:
        found = Path("/sys/fs/bpf")
        run("mount", "-t", "bpf", "bpf", found)
    return found


# Network namespaces


def enter_network(name):
    """Moves the calling thread into a network namespace."""
    descriptor = os.open(NETNS / name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        check(_libc.setns(descriptor, CLONE_NEWNET), f"entering {name}")
    finally:
        os.close(descriptor)


def in_network(name, function):
    """Calls `function` in a network namespace, on a thread of its own, since a namespace belongs to a thread."""
    outcome = {}

    def body():
        try:
            enter_network(name)
            outcome["value"] = function()
        except Exception as error:
            outcome["error"] = error

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]


def add_network(name, ipv6=False):
    """A new network namespace with loopback; without IPv6 unless it is wanted."""
    run("ip", "netns", "add", name)

    def sysctls():
        for key, value in [
            ("ipv6/conf/all/disable_ipv6", 0 if ipv6 else 1),
            ("ipv6/conf/default/disable_ipv6", 0 if ipv6 else 1),
            # The lab's addresses are its own: nobody has to ask before they are used.
            ("ipv6/conf/all/accept_dad", 0),
            ("ipv6/conf/default/accept_dad", 0),
            ("ipv6/conf/default/accept_ra", 0),
            ("ipv4/conf/all/rp_filter", 0),
            ("ipv4/conf/default/rp_filter", 0),
        ]:
            with contextlib.suppress(FileNotFoundError):
                Path(f"/proc/sys/net/{key}").write_text(str(value))

    in_network(name, sysctls)
    ip(name, "link set lo up")


def forward(name, ipv6=False):
    keys = ["ipv4/ip_forward", *(["ipv6/conf/all/forwarding"] if ipv6 else [])]
    in_network(name, lambda: [Path(f"/proc/sys/net/{key}").write_text("1") for key in keys])


def ip(name, *commands):
    """Runs lines of `ip -batch` in a network namespace."""
    if commands:
        run("ip", "-n", name, "-batch", "-", input="\n".join(commands) + "\n")


def hardware_address(name):
    """Of the namespace's eth0."""
    return json.loads(run("ip", "-n", name, "-j", "link", "show", "eth0"))[0]["address"]


def networks(prefix):
    return sorted(path.name for path in NETNS.glob(f"{prefix}*")) if NETNS.is_dir() else []


def listening(name, port):
    """Whether some socket listens on this TCP port of a network namespace."""

    def body():
        lines = []
        for table in ("tcp", "tcp6"):
            with contextlib.suppress(FileNotFoundError):
                lines += Path(f"/proc/thread-self/net/{table}").read_text().splitlines()[1:]
        return any(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in map(str.split, lines))

    return in_network(name, body)


# Cgroups


def pids(cgroup):
    try:
        return [int(line) for line in (cgroup / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def populated(cgroup):
    try:
        return "populated 1" in (cgroup / "cgroup.events").read_text()
    except OSError:
        return False


def end_processes(cgroup, seconds=10):
    """Kills everything in a cgroup and below it, and waits until nothing is left."""
    if not cgroup.is_dir():
        return
    if (cgroup / "cgroup.kill").exists():
        (cgroup / "cgroup.kill").write_text("1")
    else:
        for below in [cgroup, *(path for path in cgroup.rglob("*") if path.is_dir())]:
            for pid in pids(below):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
    wait_for(f"the processes of {cgroup} to end", lambda: not populated(cgroup), seconds)


def remove_cgroups(cgroup):
    if cgroup.is_dir():
        for below in sorted((path for path in cgroup.rglob("*") if path.is_dir()), reverse=True):
            below.rmdir()
        cgroup.rmdir()


# Processes


def enter(network, cgroup, hosts=None, resolv=None):
    """Makes the calling process a member of a cgroup and a network namespace, where one is given.

    `hosts` is mounted over /etc/hosts for it alone, `resolv` over /etc/resolv.conf.
    """
    if cgroup is not None:
        (cgroup / "cgroup.procs").write_text("0")
    mounts = [(source, place) for source, place in ((hosts, b"/etc/hosts"), (resolv, b"/etc/resolv.conf"))
              if source is not None and source.exists()]
    if mounts:
        check(_libc.unshare(CLONE_NEWNS), "unshare")
        check(_libc.mount(b"none", b"/", None, MS_REC | MS_SLAVE, None), "mount --make-rslave /")
    for source, place in mounts:
        check(_libc.mount(bytes(source), place, None, MS_BIND, None), f"mount --bind {place.decode()}")
    if network is not None:
        enter_network(network)


def spawn(command, network, cgroup, log, hosts=None, resolv=None, environment=None, directory="/"):
    """Starts a program of the lab in the background; it outlives this one."""
    with open(log, "ab") as output:
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
                cwd=directory,
                preexec_fn=lambda: enter(network, cgroup, hosts, resolv),
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise LabError(f"cannot start {command[0]}: {error}", log) from error


def remove_tree(path):
    if path.exists():
        shutil.rmtree(path)
