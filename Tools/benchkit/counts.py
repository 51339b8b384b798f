# SPDX-License-Identifier: Apache-2.0
"""Figures that a busy machine does not change much: system calls and instructions for what is moved and done.

In runs of their own, since looking costs time: strace stops a proxy at every call, and the calls it makes are then fewer
and larger than at full speed.
"""

import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from labkit import kernel
from labkit.kernel import LabError

from . import tools
from .steps import COUNTS, named
from .world import network

SECONDS = 1
# A second is short on a busy machine.
ATTEMPTS = 3
# Of each step: what its figures are called, and how many of them a run's amount is.
LOADS = (("stream1", "mb", lambda figures: figures["gigabytes"] * 1000),
         ("short", "connection", lambda figures: figures["operations"]))


def samples(world, peer):
    """One sample for each way of looking that works here."""
    sample = {"peer": peer.name, "step": COUNTS, "repetition": 1, "workers": peer.workers, "figures": {}, "calls": {}}
    for step, unit, amount in LOADS:
        if not tools.missing(["strace"]):
            total, by_name, done = observe_again(world, peer, named(step), amount, trace)
            sample["figures"][f"calls_per_{unit}"] = total / done
            sample["calls"][unit] = {name: round(count / done, 3) for name, count in most(by_name)}
        if counts_instructions():
            total, _, done = observe_again(world, peer, named(step), amount, instructions)
            sample["figures"][f"instructions_per_{unit}"] = total / done
    yield sample


def observe_again(world, peer, step, amount, observer):
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return observe(world, peer, step, amount, observer)
        except (LabError, ValueError):
            if attempt == ATTEMPTS:
                raise


def observe(world, peer, step, amount, observer):
    """(count, {name: count}, amount): of the proxies on all their nodes, while the step loads them."""
    pids = [pid for node in peer.nodes() for pid in world.pids(node)]
    with tempfile.NamedTemporaryFile(prefix="counts-", dir=world.log_of("x").parent) as output:
        finish = observer(world, pids, output.name)
        try:
            text = world.execute("client", step.command(world.load, *peer.dial(step.service), SECONDS), SECONDS + 60)
        finally:
            finish()
        total, by_name = (read_strace if observer is trace else read_perf)(Path(output.name).read_text())
        return total, by_name, amount(step.read(text))


def trace(world, pids, output):
    targets = [word for pid in pids for word in ("-p", str(pid))]
    return attach(world, ["strace", "-c", "-f", "-q", "-o", output, *targets], lambda: all(is_traced(pid) for pid in pids))


def instructions(world, pids, output):
    return attach(world, ["perf", "stat", "-x", ",", "-e", "instructions:u", "-o", output,
                          "-p", ",".join(map(str, pids))], lambda: True)


def attach(world, command, is_ready):
    """Starts an observer and waits until it observes; returns what ends it."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=lambda: kernel.enter(network("node1"), world.cgroup_of("tool")))

    def finish():
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    def ready():
        if process.poll() is not None:
            raise LabError(f"{command[0]}: {process.stderr.read().decode(errors='replace').strip()[-300:]}")
        return is_ready()

    try:
        kernel.wait_for(f"{command[0]} to attach", ready, 20)
    except BaseException:
        finish()
        raise
    time.sleep(0.2)
    return finish


def is_traced(pid):
    found = re.search(r"^TracerPid:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(found and int(found[1]))


def read_strace(text):
    """(calls, {name: calls}) of the table that strace -c prints."""
    by_name = {}
    for line in text.splitlines():
        # % time, seconds, usecs/call, calls, errors (may be blank), name
        found = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?([a-z_]\w*)\s*$", line)
        if found and found[2] != "total":
            by_name[found[2]] = by_name.get(found[2], 0) + int(found[1])
    if not by_name:
        raise ValueError("strace counted nothing")
    return sum(by_name.values()), by_name


def read_perf(text):
    total = 0
    for line in text.splitlines():
        fields = line.split(",")
        # One line for each kind of core.
        if len(fields) > 2 and "instructions" in fields[2] and fields[0].isdigit():
            total += int(fields[0])
    if not total:
        raise ValueError("perf counted nothing")
    return total, {}


def most(by_name, count=8):
    return sorted(by_name.items(), key=lambda item: -item[1])[:count]


_counts = []


def counts_instructions():
    """Whether this machine lets perf count instructions; a virtual one often does not."""
    if not _counts:
        answer = False
        if not tools.missing(["perf"]):
            done = subprocess.run(["perf", "stat", "-x", ",", "-e", "instructions:u", "true"], capture_output=True,
                                  text=True, stdin=subprocess.DEVNULL)
            try:
                answer = read_perf(done.stderr)[0] > 0
            except ValueError:
                answer = False
        _counts.append(answer)
    return _counts[0]
