# SPDX-License-Identifier: Apache-2.0
"""The order of things: repetitions in which the peers take turns, noise watched over every step."""

import contextlib
import json
import resource
import subprocess
import time
from dataclasses import dataclass

from labkit import kernel
from labkit.kernel import LabError

from . import check, counts, enrolment, steps
from .nginx import web_server
from .peer import ACROSS, LOCAL
from .steps import with_cpu
from .world import PORTS, awake, network

IDLE = (1000, 9500)
# Seconds for which connections have been idle when memory is looked at.
SETTLE = 10
# Descriptors that a daemon needs beside the two of each connection.
RESERVE = 2000
# The share of a core that the hypervisor may take from a step before it counts as noisy.
STOLEN = 0.1


@dataclass
class Plan:
    repetitions: int
    steps: list
    is_quick: bool = False
    noise: float = 0.25
    # Repetitions of noisy steps: of one step, and in all.
    attempts: int = 2
    repeats: int = 12


class Runner:
    def __init__(self, world, peers, plan, results, say):
        self.world, self.peers, self.plan, self.results, self.say = world, peers, plan, results, say
        self.repeats = plan.repeats
        self._checked, self._memory_done, self._broken = set(), set(), {}

    def serve(self):
        """The programs in the pods."""
        for pod in ("server", "local"):
            self.world.spawn(pod, [self.world.load, "echo", PORTS["echo"]], f"{pod}-echo")
            self.world.spawn(pod, ["iperf3", "-s", "-p", PORTS["stream"]], f"{pod}-stream")
        self.world.spawn("server", web_server(self.world, "server-http"), "server-http")
        for pod, services in (("server", PORTS), ("local", ("echo", "stream"))):
            for service in services:
                kernel.wait_for(f"{service} in {pod}", lambda: kernel.listening(network(pod), PORTS[service]), 20,
                                self.world.log_of(f"{pod}-{service}"))

    def run(self):
        for repetition in range(1, self.plan.repetitions + 1):
            for peer in self.order(repetition):
                self.block(peer, repetition)
        if steps.COUNTS in self.plan.steps:
            for peer in self.peers:
                if peer.proxies and peer.steps is None:
                    self.count(peer)

    def order(self, repetition):
        """Another peer begins in each repetition, so that none always runs in the same company."""
        ordered = []
        for group in (ACROSS, LOCAL):
            members = [peer for peer in self.peers if peer.group == group]
            first = (repetition - 1) % max(1, len(members))
            ordered += members[first:] + members[:first]
        return ordered

    def steps_of(self, peer):
        wanted = peer.steps or [step.name for step in steps.ALL if step.is_for(peer)]
        return [step for step in steps.ALL if step.name in wanted and step.name in self.plan.steps]

    def wants_memory(self, peer):
        return (steps.MEMORY in self.plan.steps and peer.proxies and peer.group == ACROSS and peer.steps is None
                and peer.name not in self._memory_done)

    def block(self, peer, repetition):
        todo, memory = self.steps_of(peer), self.wants_memory(peer)
        enrols = steps.ENROLMENT in self.plan.steps and peer.enrols and repetition == 1
        if not (todo or memory or enrols) or self._broken.get(peer.name, 0) >= 2:
            return
        try:
            with self.up(peer):
                if peer.name not in self._checked:
                    self._checked.add(peer.name)
                    self.check(peer)
                if memory:
                    self._memory_done.add(peer.name)
                    self.memory(peer, repetition)
                if memory and todo:
                    # What follows begins with a daemon that has not held thousands of connections.
                    self.restart(peer)
                for step in todo:
                    self.measure(peer, step, repetition)
                if enrols:
                    self.record(enrolment.sample(self.world, peer, 50 if self.plan.is_quick else enrolment.MANY))
        except (LabError, OSError, ValueError, subprocess.SubprocessError) as error:
            self._broken[peer.name] = self._broken.get(peer.name, 0) + 1
            self.record({"peer": peer.name, "step": "start", "repetition": repetition, "error": describe(error)})

    @contextlib.contextmanager
    def up(self, peer):
        try:
            self.start(peer)
            yield
        finally:
            peer.stop(self.world)
            self.world.end("tool")

    def start(self, peer):
        peer.start(self.world)
        kernel.wait_for(f"{peer.name} to pass data", lambda: self.passes(peer, 1000), 20)

    def restart(self, peer):
        peer.stop(self.world)
        self.start(peer)

    def passes(self, peer, size):
        """Whether so many bytes come back whole; ValueError tells why not."""
        address, port = peer.dial("echo")
        try:
            self.world.execute("client", [self.world.load, "verify", address, port, size], 30)
        except LabError as error:
            raise ValueError(str(error)) from error
        return True

    # Correctness

    def check(self, peer):
        """Of a peer that is up. A LabError when it does not do what it should: there is no point in timing it then."""
        claims = check.claims(self.world, peer)
        if peer.encrypts and not self.plan.is_quick and peer.has_impostor:
            claims.append(self.refuses_impostor(peer))
            self.restart(peer)
        self._checks_held(peer, claims)

    def _checks_held(self, peer, claims):
        self.results.about.setdefault("checks", {})[peer.name] = [[claim, bool(holds)] for claim, holds in claims]
        for claim, holds in claims:
            self.say(f"  {peer.name:<17} {'holds' if holds else 'FAILS'}: {claim}")
        failed = [claim for claim, holds in claims if not holds]
        if failed:
            self._broken[peer.name] = 2
            raise LabError(f"does not hold: {'; '.join(failed)}")

    def check_all(self):
        for peer in self.peers:
            try:
                with self.up(peer):
                    self.check(peer)
            except (LabError, OSError, ValueError, subprocess.SubprocessError) as error:
                self.record({"peer": peer.name, "step": "check", "repetition": 1, "error": describe(error)})

    def refuses_impostor(self, peer):
        peer.stop(self.world)
        try:
            peer.start(self.world, impostor=True)
            deadline = time.monotonic() + 2
            passed = False
            while time.monotonic() < deadline and not passed:
                with contextlib.suppress(ValueError):
                    passed = self.passes(peer, 1000)
                time.sleep(0.2)
        finally:
            peer.stop(self.world)
        return "node 1 refuses a node 2 with a certificate of another authority", not passed

    # One step

    def measure(self, peer, step, repetition):
        for attempt in range(self.plan.attempts):
            sample = self.sample(peer, step, repetition)
            is_poor = sample.get("noisy") or "error" in sample
            again = bool(is_poor and attempt + 1 < self.plan.attempts and self.repeats > 0)
            if again:
                sample["superseded"] = True
                self.repeats -= 1
            self.record(sample)
            if not again:
                return

    def sample(self, peer, step, repetition):
        seconds = step.length(peer.group, self.plan.is_quick)
        command = step.command(self.world.load, *peer.dial(step.service), seconds)
        sample = {"peer": peer.name, "step": step.name, "repetition": repetition, "workers": peer.workers}
        with awake() if step.awake else contextlib.nullcontext():
            before = self.usage(peer)
            try:
                output = self.world.execute("client", command, seconds + 30)
                sample["figures"] = step.read(output)
            except (LabError, ValueError, KeyError) as error:
                sample["error"] = describe(error)
            after = self.usage(peer)
        self.judge(sample, peer, before, after)
        return sample

    def usage(self, peer):
        own = resource.getrusage(resource.RUSAGE_SELF)
        busy, stolen = self.world.machine_cpu()
        return {
            "time": time.monotonic(), "busy": busy, "stolen": stolen,
            "own": self.world.cpu()[0] + own.ru_utime + own.ru_stime, "everybody": self.world.cpu()[0],
            "nodes": {node: self.world.cpu(node) for node in peer.nodes()},
        }

    def judge(self, sample, peer, before, after):
        """How much of the machine others had meanwhile, and what the proxies used."""
        elapsed = after["time"] - before["time"]
        used = {key: after[key] - before[key] for key in ("busy", "stolen", "own")}
        sample["seconds"] = round(elapsed, 3)
        sample["foreign"] = round(max(0, used["busy"] - used["own"]) / elapsed, 3)
        sample["stolen"] = round(used["stolen"] / elapsed, 3)
        sample["noisy"] = sample["foreign"] > self.plan.noise or sample["stolen"] > STOLEN
        if "figures" in sample:
            cpu, user = ({node: after["nodes"][node][i] - before["nodes"][node][i] for node in peer.nodes()}
                         for i in (0, 1))
            sample["figures"] = with_cpu(sample["figures"], cpu, sum(user.values()),
                                         after["everybody"] - before["everybody"])

    def record(self, sample):
        self.results.samples.append(sample)
        words = [f"{sample['repetition']}", f"{sample['peer']:<17}", f"{sample['step']:<10}"]
        figures = sample.get("figures", {})
        shown = ("gbps", "rate", "p50", "p99", "cpu_per_gb", "cpu_each", "errors", "per_connection", "calls_per_mb",
                 "calls_per_connection", "instructions_per_mb", "instructions_per_connection",
                 "enrol_p50", "enrol_p99", "start_seconds", "workload_kb")
        words += [f"{key} {figures[key]:.4g}" for key in shown if figures.get(key) is not None]
        if sample.get("noisy"):
            words.append(f"(noisy: others {sample['foreign']} cores, stolen {sample['stolen']})")
        if "error" in sample:
            words.append(f"ERROR {sample['error']}")
        self.say(" ".join(words))

    # Memory

    def memory(self, peer, repetition):
        """At start, and with idle connections, each of which was used once."""
        limit = (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - RESERVE) // 2
        wanted = [min(count, limit) for count in (IDLE[:1] if self.plan.is_quick else IDLE)]
        time.sleep(1)
        figures = {}
        start = {node: self.world.memory(node) for node in peer.nodes()}
        for node, sizes in start.items():
            figures.update({f"start_{kind}_{node}": size for kind, size in sizes.items()})
        address, port = peer.dial("echo")
        command = [str(word) for word in (self.world.load, "idle", address, port, *wanted)]
        sample = {"peer": peer.name, "step": steps.MEMORY, "repetition": repetition, "workers": peer.workers}
        client = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            preexec_fn=lambda: kernel.enter(network("client"), self.world.cgroup_of("client")))
        try:
            for count in wanted:
                line = json.loads(client.stdout.readline())
                if line["alive"] < count:
                    raise ValueError(f"{line['alive']} of {count} connections are up")
                # Idle is idle: what handshakes needed may be given back a moment later, by everybody.
                time.sleep(SETTLE)
                held = {node: self.world.memory(node) for node in peer.nodes()}
                figures.update(growth(start, held, count))
                client.stdin.write("\n")
                client.stdin.flush()
            client.wait(20)
        except (ValueError, OSError, subprocess.TimeoutExpired) as error:
            sample["error"] = describe(error)
        finally:
            client.kill()
            client.communicate()
        if "error" not in sample or "per_connection" in figures:
            sample["figures"] = figures
        self.record(sample)

    # Counts

    def count(self, peer):
        try:
            with self.up(peer):
                for sample in counts.samples(self.world, peer):
                    self.record(sample)
        except (LabError, OSError, ValueError, subprocess.SubprocessError) as error:
            self.record({"peer": peer.name, "step": steps.COUNTS, "repetition": 1, "error": describe(error)})


def growth(start, held, count):
    """Bytes for each of `count` connections, by node and kind; `per_connection`: anonymous, on the worse node."""
    figures = {}
    for node, sizes in held.items():
        for kind, size in sizes.items():
            figures[f"idle{count}_{kind}_{node}"] = max(0, size - start[node][kind]) * 1024 / count
    figures["per_connection"] = max(figures[f"idle{count}_anonymous_{node}"] for node in held)
    figures["connections"] = count
    return figures


def describe(error):
    text = str(error) or repr(error)
    log = getattr(error, "log", None)
    if log:
        with contextlib.suppress(OSError), open(log, errors="replace") as lines:
            last = lines.read().strip().splitlines()[-3:]
            text += "".join(f"\n    {line[:300]}" for line in last)
    return text


