# SPDX-License-Identifier: Apache-2.0
"""Programs that run in workloads while a disruption goes on, and figures of the daemons meanwhile."""

import http.client
import json
import os
import subprocess
import sys
from pathlib import Path

from labkit import kernel
from labkit.kernel import LabError

TRAFFIC = Path(__file__).resolve().parent / "traffic.py"


class Program:
    """traffic.py in a workload."""

    def __init__(self, lab, workload, *words):
        target = lab.target(workload)
        self.name = f"{workload} {' '.join(map(str, words))}"
        self.process = subprocess.Popen(
            [sys.executable, str(TRAFFIC), *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            preexec_fn=lambda: kernel.enter(lab.network(target), lab.cgroup_of(target), lab.hosts))

    def opened(self):
        if self.process.stdout.readline().strip() != "open":
            raise LabError(f"{self.name}: its connections could not be opened")
        return self

    def report(self):
        """Has it end, and answers what it saw."""
        self.process.stdin.close()
        text = self.process.stdout.read()
        if self.process.wait() != 0:
            raise LabError(f"{self.name}: exit status {self.process.returncode}")
        return json.loads(text)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def kept(lab, node):
    """The connections of a node that would outlive its daemon now."""
    def read():
        connection = http.client.HTTPConnection("127.0.0.1", 15020, timeout=5 * kernel.PATIENCE)
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()

    for line in kernel.in_network(lab.network(node), read).splitlines():
        if line.startswith('nodemesh_crash_kept_connections{state="kept"'):
            return float(line.split()[-1])
    return 0


def figures(lab, node):
    """What must not grow: a daemon's descriptors, memory and pipes, and the entries of its maps."""
    pids = kernel.pids(lab.cgroup_of(node))
    if len(pids) != 1:
        raise LabError(f"{node.name} has processes {pids}")
    directory = Path(f"/proc/{pids[0]}")
    targets = []
    for name in os.listdir(directory / "fd"):
        try:
            targets.append(os.readlink(directory / "fd" / name))
        except FileNotFoundError:
            continue
    pages = int((directory / "statm").read_text().split()[1])
    maps = lab.ask(node, "/v1/status")["maps"]
    return {
        "descriptors": len(targets), "pipes": sum(name.startswith("pipe:") for name in targets),
        "memory": pages * os.sysconf("SC_PAGE_SIZE") >> 20,
        "mapEntries": sum(one.get("entries") or 0 for one in maps),
        "stored": len(lab.client(node).ask("status")["stored"]),
    }
