# SPDX-License-Identifier: Apache-2.0
"""What is measured of each peer: the command that loads it, and reading what that command prints.

Figures: gbps in Gbit/s; rate per second; p50, p90, p99, p999 in microseconds; operations and gigabytes in all.
"""

import json
import re
from dataclasses import dataclass

from .peer import ACROSS, LOCAL

MEMORY, COUNTS, ENROLMENT = "memory", "counts", "enrolment"


@dataclass(frozen=True)
class Step:
    name: str
    title: str
    service: str
    # Of the measured time: in a full run between the nodes and on one node, and in a quick run.
    seconds: float
    local: float
    quick: float
    # The command's words after the address and the port; {seconds} is the time.
    tool: str
    arguments: tuple
    groups: tuple = (ACROSS,)
    # Whether idle cores are kept from sleeping meanwhile.
    awake: bool = False
    # Only of plain TCP and nodemesh, since it is about what one adds to the other.
    own: bool = False

    def is_for(self, peer):
        return peer.group in self.groups and (not self.own or peer.family() in ("plain", "nodemesh"))

    def length(self, group, is_quick):
        return self.quick if is_quick else self.local if group == LOCAL else self.seconds

    def command(self, load, address, port, seconds):
        words = [str(word).format(seconds=seconds) for word in self.arguments]
        if self.tool == "iperf3":
            return ["iperf3", "-c", address, "-p", port, "-J", *words]
        if self.tool == "wrk":
            return ["wrk", *words, "--latency", f"http://{address}:{port}/kilobyte"]
        return [load, self.tool, address, port, *words]

    def read(self, output):
        """The figures in what the command printed; ValueError when they are not there."""
        return {"iperf3": read_iperf3, "wrk": read_wrk}.get(self.tool, read_load)(output)


BOTH = (ACROSS, LOCAL)
ALL = [
    Step("stream1", "one stream", "stream", 4, 3, 2, "iperf3", ("-t", "{seconds}", "-P", 1), BOTH),
    Step("streams8", "eight streams", "stream", 4, 2, 2, "iperf3", ("-t", "{seconds}", "-P", 8), BOTH),
    Step("ping", "64 B ping-pong", "echo", 2, 1, 1, "ping", (1, 64, "{seconds}"), BOTH),
    Step("ping-awake", "64 B ping-pong, idle cores kept awake", "echo", 1.5, 0, 0.8, "ping", (1, 64, "{seconds}"),
         awake=True),
    Step("requests", "1 KB on 16 connections", "echo", 2, 0, 1, "ping", (16, 1024, "{seconds}")),
    Step("short", "new connection, 64 B each way, close; 32 at a time", "echo", 4, 2, 2, "short", (32, 64, "{seconds}"),
         BOTH),
    Step("streams32", "32 streams", "stream", 3, 2, 2, "iperf3", ("-t", "{seconds}", "-P", 32), (LOCAL,), own=True),
    Step("ping-1k", "1 KB ping-pong", "echo", 1, 1, 1, "ping", (1, 1024, "{seconds}"), (LOCAL,), own=True),
    Step("ping-16k", "16 KB ping-pong", "echo", 1, 1, 1, "ping", (1, 16384, "{seconds}"), (LOCAL,), own=True),
    Step("connect", "new connection, 1 B each way, close; one at a time", "echo", 1, 1, 1, "short", (1, 1, "{seconds}"),
         (LOCAL,), own=True),
    Step("http", "HTTP/1.1 keep-alive, 1 KB, 32 connections", "http", 3, 0, 1, "wrk", ("-t1", "-c32", "-d{seconds}s")),
]
NAMES = [step.name for step in ALL] + [MEMORY, COUNTS, ENROLMENT]


def named(name):
    return next(step for step in ALL if step.name == name)


def read_iperf3(output):
    document = json.loads(output)
    if "error" in document:
        raise ValueError(document["error"])
    received = document["end"]["sum_received"]
    if not received["bytes"]:
        raise ValueError("iperf3 moved nothing")
    return {"gbps": received["bits_per_second"] / 1e9, "gigabytes": received["bytes"] / 1e9}


def read_load(output):
    document = json.loads(output)
    if not document["count"]:
        raise ValueError(f"nothing got through, {document['errors']} errors")
    keys = ("rate", "p50", "p90", "p99", "p999", "errors")
    return {**{key: document[key] for key in keys}, "operations": document["total"]}


def read_wrk(output):
    units = {"us": 1, "ms": 1e3, "s": 1e6}
    total = re.search(r"(\d+) requests in", output)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if not total or not rate or not int(total[1]):
        raise ValueError(f"not what wrk prints: {output[-200:]!r}")
    if "Non-2xx" in output:
        raise ValueError("some answers were not what was asked for")
    figures = {"rate": float(rate[1]), "operations": int(total[1]), "errors": 0}
    for share, value, unit in re.findall(r"(50|90|99)%\s+([\d.]+)(us|ms|s)\b", output):
        figures[f"p{share}"] = float(value) * units[unit]
    failed = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    if failed:
        figures["errors"] = sum(map(int, failed.groups()))
    return figures


def with_cpu(figures, cpu, user=0, everybody=None):
    """Adds the proxies' CPU time, {node: seconds}, for what was moved or done: seconds per GB, or µs for each.

    `user` is what of it was spent in user space; `everybody`: seconds that clients, servers and proxies used together.
    """
    per, amount, scale = ("cpu_per_gb", figures.get("gigabytes"), 1) if "gigabytes" in figures else (
        "cpu_each", figures.get("operations"), 1e6)
    if amount and everybody is not None:
        figures = {**figures, f"{per}_everybody": everybody * scale / amount}
    if not amount or not cpu:
        return figures
    parts = {f"{per}_{node}": used * scale / amount for node, used in cpu.items()}
    return {**figures, **parts, f"{per}_user": user * scale / amount, per: sum(cpu.values()) * scale / amount}
