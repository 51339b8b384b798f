# SPDX-License-Identifier: Apache-2.0
"""The two nodes and their pods, each a network namespace, and the processes in them.

    client ──veth── node1 ══veth══ node2 ──veth── server
    local  ──veth── node1    (and spare, which has a link and nothing to do)

Everything carries the benchmark's name: namespaces nmbench-…, the cgroup nodemesh-bench, bpffs pins of the instances
nmbench-…, and the directory /run/nodemesh-bench. So `down` finds all of it by name, also what a killed run left, and
the cgroups say which processes are alive and what CPU time they used.
"""

import contextlib
import fcntl
import os
import resource
import shutil
import subprocess
from pathlib import Path

from labkit import kernel
from labkit.kernel import LabError

from . import tools

PREFIX = "nmbench-"
RUN = Path("/run/nodemesh-bench")
LOCK = Path("/run/lock/nodemesh-bench.lock")

NODES = ("node1", "node2")
PODS = ("client", "server", "local", "spare")
ADDRESS = {
    "node1": "10.210.0.1",
    "node2": "10.210.0.2",
    "client": "10.211.1.1",
    "local": "10.211.1.2",
    "spare": "10.211.1.3",
    "server": "10.211.2.1",
}
POD_PREFIX = "10.211.0.0/16"
NODE_OF = {"client": "node1", "local": "node1", "spare": "node1", "server": "node2"}
# What the pods serve.
PORTS = {"stream": 5201, "echo": 7001, "http": 8080}
# The proxies' ports for a service: on node 1 for the client, and on node 2 for node 1.
OUTBOUND = {service: 10000 + port for service, port in PORTS.items()}
INBOUND = {service: 30000 + port for service, port in PORTS.items()}
# The cgroup of each process: pods and proxies by name, and what looks on.
CGROUPS = (*NODES, *PODS, "control", "tool")
TICK = os.sysconf("SC_CLK_TCK")


class World:
    def __init__(self):
        self.cgroup = kernel.cgroup2() / "nodemesh-bench"
        self.load = str(RUN / "load")
        self._kernel_threads = None

    # Up and down

    def up(self):
        (RUN / "logs").mkdir(parents=True)
        RUN.chmod(0o700)
        for name in CGROUPS:
            self.cgroup_of(name).mkdir(parents=True)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
        self.make_networks()
        tools.compile_load(self.load)

    def make_networks(self):
        for name in (*NODES, *PODS):
            kernel.add_network(network(name))
            kernel.in_network(network(name), tune)
        for node in NODES:
            kernel.forward(network(node))
        kernel.ip(network("node1"),
                  f"link add trunk type veth peer name trunk netns {network('node2')}",
                  f"addr add {ADDRESS['node1']}/30 dev trunk", "link set trunk up")
        kernel.ip(network("node2"), f"addr add {ADDRESS['node2']}/30 dev trunk", "link set trunk up")
        for pod, node in NODE_OF.items():
            kernel.ip(network(node),
                      f"link add {pod} type veth peer name eth0 netns {network(pod)}",
                      f"addr add 169.254.1.1/32 dev {pod}",
                      f"link set {pod} up",
                      f"route add {ADDRESS[pod]}/32 dev {pod} src {ADDRESS[node]}")
            kernel.ip(network(pod),
                      f"addr add {ADDRESS[pod]}/32 dev eth0",
                      "link set eth0 up",
                      "route add 169.254.1.1 dev eth0 scope link",
                      "route add default via 169.254.1.1 dev eth0")
        self._routed(True)

    def guard(self, closed):
        """Closed: the nodes forward nothing between pods: a proxy that is bypassed fails instead of looking fast."""
        self._routed(not closed)
        rule = f"iif client to {ADDRESS['local']}/32 priority 10 unreachable"
        with contextlib.suppress(LabError):
            kernel.ip(network("node1"), f"rule del {rule}")
        if closed:
            kernel.ip(network("node1"), f"rule add {rule}")

    def _routed(self, is_open):
        for node, pods, via in (("node1", ("server",), "node2"), ("node2", ("client", "local"), "node1")):
            for pod in pods:
                where = f"{ADDRESS[pod]}/32"
                kernel.ip(network(node), f"route replace {where} via {ADDRESS[via]}" if is_open
                          else f"route replace unreachable {where}")

    def down(self):
        """Takes away all there is, also of a run that was killed. What resists is told at the end."""
        faults = []

        def attempt(function, *arguments):
            try:
                function(*arguments)
            except (LabError, OSError) as error:
                faults.append(str(error))

        attempt(kernel.end_processes, self.cgroup)
        for path in self.pins():
            attempt(kernel.remove_tree, path)
        for name in kernel.networks(PREFIX):
            attempt(kernel.run, "ip", "netns", "delete", name)
        attempt(kernel.remove_cgroups, self.cgroup)
        attempt(kernel.remove_tree, RUN)
        faults += [f"still there: {thing}" for thing in self.leftovers()]
        if faults:
            raise LabError("\n".join(faults))

    @staticmethod
    def keep_logs(directory):
        """Copies logs and configurations, not keys."""
        with contextlib.suppress(OSError):
            shutil.copytree(RUN, directory, dirs_exist_ok=True,
                            ignore=shutil.ignore_patterns("certificates", "nodemesh", "load", "*.admin"))

    def pins(self):
        mount = kernel.mount_of("bpf")
        root = mount / "nodemesh" if mount else None
        return sorted(root.glob(f"{PREFIX}*")) if root and root.is_dir() else []

    def leftovers(self):
        found = [f"network namespace {name}" for name in kernel.networks(PREFIX)]
        found += [f"directory {path}" for path in (self.cgroup, RUN, *self.pins()) if path.exists()]
        return found

    # Processes

    def cgroup_of(self, name):
        return self.cgroup / name

    def log_of(self, name):
        return RUN / "logs" / f"{name}.log"

    def write(self, name, text):
        path = RUN / name
        path.write_text(text)
        return str(path)

    def spawn(self, where, command, log, place=None):
        """Starts a program in the cgroup `where` and, if not told otherwise, the namespace of that name."""
        words = [str(word) for word in command]
        return kernel.spawn(words, network(place or where), self.cgroup_of(where), self.log_of(log))

    def execute(self, where, command, timeout, place=None, input=None):
        """Runs a program to its end and returns what it printed; a LabError when it fails or takes too long."""
        words = [str(word) for word in command]
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, timeout=timeout, input=input,
                stdin=subprocess.DEVNULL if input is None else None,
                preexec_fn=lambda: kernel.enter(network(place or where), self.cgroup_of(where)),
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{Path(words[0]).name}: not done in {timeout} s") from error
        if done.returncode != 0:
            text = (done.stderr or done.stdout).strip()[-400:]
            raise LabError(f"{Path(words[0]).name}: exit status {done.returncode}: {text}")
        return done.stdout

    def pids(self, name):
        return kernel.pids(self.cgroup_of(name))

    def end(self, *names, patience=3):
        """Ends the processes of cgroups: asks, waits, and kills what is left."""
        for number in (15, 9):
            for name in names:
                for pid in self.pids(name):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
            with contextlib.suppress(LabError):
                kernel.wait_for("the end of processes",
                                lambda: not any(kernel.populated(self.cgroup_of(name)) for name in names), patience)
                return
        raise LabError(f"processes of {', '.join(names)} do not end")

    # What they use

    def cpu(self, name=None):
        """Seconds of CPU time that a cgroup, or all of the benchmark, has used: (in all, in user space)."""
        text = ((self.cgroup_of(name) if name else self.cgroup) / "cpu.stat").read_text()
        used = dict(line.split() for line in text.splitlines())
        return int(used["usage_usec"]) / 1e6, int(used["user_usec"]) / 1e6

    def machine_cpu(self):
        """(busy, stolen): seconds of CPU time of the whole machine, without the kernel's own network threads."""
        user, nice, system, _, _, irq, softirq, steal = map(
            int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
        busy = user + nice + system
        if not accounts_interrupts():
            busy += irq + softirq
        return (busy - self.network_thread_ticks()) / TICK, steal / TICK

    def network_thread_ticks(self):
        if self._kernel_threads is None:
            self._kernel_threads = []
            for path in Path("/proc").glob("[0-9]*/comm"):
                with contextlib.suppress(OSError):
                    if path.read_text().startswith("ksoftirqd"):
                        self._kernel_threads.append(path.parent / "stat")
        ticks = 0
        for path in self._kernel_threads:
            with contextlib.suppress(OSError):
                ticks += sum(map(int, path.read_text().rpartition(")")[2].split()[11:13]))
        return ticks

    def memory(self, name):
        """Kilobytes: {"rss", "pss", "anonymous"} of the processes of a cgroup together."""
        total = {"rss": 0, "pss": 0, "anonymous": 0}
        keys = {"Rss:": "rss", "Pss:": "pss", "Anonymous:": "anonymous"}
        for pid in self.pids(name):
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    key = keys.get(line.split()[0])
                    if key:
                        total[key] += int(line.split()[1])
        return total


def network(name):
    return PREFIX + name


def tune():
    """Of the calling thread's namespace: room for many short connections, the same for every peer."""
    for key, value in [
        ("net/ipv4/ip_local_port_range", "16384 65535"),
        # The remains of an outgoing connection would keep a listener from its port.
        ("net/ipv4/ip_local_reserved_ports", ",".join(map(str, sorted([*OUTBOUND.values(), *INBOUND.values()])))),
        ("net/ipv4/tcp_tw_reuse", "1"),
        ("net/ipv4/tcp_max_syn_backlog", "16384"),
        ("net/core/somaxconn", "16384"),
    ]:
        with contextlib.suppress(FileNotFoundError):
            Path(f"/proc/sys/{key}").write_text(value)


_interrupts = []


def accounts_interrupts():
    """Whether this kernel takes interrupts' time out of that of the process they came upon."""
    if not _interrupts:
        answer = False
        with contextlib.suppress(OSError):
            answer = "CONFIG_IRQ_TIME_ACCOUNTING=y" in Path(f"/boot/config-{os.uname().release}").read_text()
        _interrupts.append(answer)
    return _interrupts[0]


@contextlib.contextmanager
def alone(path, say):
    """One run at a time on a machine: holds the lock file, and waits for it while another one does."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+") as holder:
        try:
            fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say(f"another benchmark holds {path}; waiting for its end")
            fcntl.flock(holder, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def awake():
    """Keeps idle cores from sleeping, where the machine lets one: a halted virtual CPU wakes in tens of microseconds."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            latency = stack.enter_context(open("/dev/cpu_dma_latency", "wb", buffering=0))
            latency.write(b"\0\0\0\0")
        yield
