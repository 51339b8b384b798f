# SPDX-License-Identifier: Apache-2.0
"""nodemesh itself: a control plane, a daemon on each node, and the pods enrolled as they are."""

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path

from labkit import kernel
from labkit.kernel import LabError

from . import enrolment, tools
from .peer import LOCAL, TUNNEL, Transparent
from .world import ADDRESS, NODE_OF, POD_PREFIX, PORTS, PREFIX, RUN, network

API, NODE_PORT = "127.0.0.1:15080", 15012
CAPTURE_PORTS = (15001, 15006)
STARTUP = 60


class Nodemesh(Transparent):
    name, title = "nodemesh", "nodemesh"
    setting = "as it comes: pods enrolled, each with its own identity; tunnels by its own defaults"
    # Its certificates are its own.
    has_impostor = False
    server_name = "server.bench.workload.mesh.internal"
    pods = ("client", "server")
    loops_more = 0
    # More of nodemeshd's configuration.
    options = {}
    mesh_prefix = POD_PREFIX
    # Whether the nodes forward: what reaches the server then has to be proved otherwise.
    is_guarded = True

    def unavailable(self):
        directory = Path(self.settings.binaries)
        absent = [name for name in tools.NODEMESH if not (directory / name).exists()]
        if absent:
            return f"{', '.join(absent)} not in {directory}; build with --build, or name a directory with --binaries"
        return None

    def version(self):
        return tools.version([self.program("nodemeshd"), "--version"], r"(\S+)\s*$")

    def program(self, name):
        return str(Path(self.settings.binaries) / name)

    def tunnel(self):
        return ADDRESS["node2"], TUNNEL

    # Start

    def start(self, world, impostor=False):
        world.guard(closed=self.is_guarded)
        # Beginning anew each time costs a second and leaves nothing to go wrong.
        self.forget()
        self.start_control(world)
        for node in self.nodes():
            self.start_node(world, node)
        for pod in self.pods:
            self.enrol(world, pod)
        self.wait_for_permission(world)

    def wait_for_permission(self, world):
        target = f"{ADDRESS[self.destination()]}:{PORTS['echo']}"
        kernel.wait_for(
            f"nodemesh to allow {target}",
            lambda: json.loads(self.ctl(world, "explain", "bench/client", target, "-o", "json", node="node1")),
            STARTUP, world.log_of(f"{self.name}-node1"))

    def start_control(self, world):
        data = RUN / "nodemesh" / "control"
        data.mkdir(parents=True)
        log = f"{self.name}-control"
        process = world.spawn("control", [
            self.program("nodemesh-control"), "serve", "--config", self.config(world, "control", {}),
            "--data-dir", data, "--grpc-listen", f"0.0.0.0:{NODE_PORT}", "--api-listen", API,
            "--metrics-listen", "127.0.0.1:15014", "--advertise", f"{ADDRESS['node1']}:{NODE_PORT}",
            "--mesh-prefix", self.mesh_prefix,
        ], log, place="node1")

        def answers():
            if process.poll() is not None:
                raise LabError(f"nodemesh-control ended with status {process.returncode}", world.log_of(log))
            return (data / "admin.token").exists() and self.ctl(world, "node", "list", "-o", "json")

        kernel.wait_for("nodemesh-control to answer", answers, STARTUP, world.log_of(log))

    def start_node(self, world, node):
        directory = RUN / "nodemesh" / node
        for below in ("data", "run"):
            (directory / below).mkdir(parents=True)
        answer = json.loads(self.ctl(world, "join-token", "create", "--node", node, "-o", "json"))
        token = directory / "join-token"
        token.touch(mode=0o600)
        token.write_text(answer["token"] + "\n")
        (directory / "ca-fingerprint").write_text(answer["caFingerprint"])
        self.start_again(world, node)

    def start_again(self, world, node):
        """A node that has joined; returns when it is ready."""
        directory = RUN / "nodemesh" / node
        options = {**self.options, **dict(word.split("=", 1) for word in self.settings.nodemesh)}
        log = f"{self.name}-{node}"
        process = world.spawn(node, [
            self.program("nodemeshd"), "serve", "--config", self.config(world, node, options), "--node", node,
            "--control-plane", f"{ADDRESS['node1']}:{NODE_PORT}",
            "--ca-fingerprint", (directory / "ca-fingerprint").read_text(),
            "--join-token-file", directory / "join-token", "--data-dir", directory / "data",
            "--run-dir", directory / "run", "--instance", PREFIX + node, "--node-address", ADDRESS[node],
            "--loops", self.workers + self.loops_more,
        ], log)

        def is_ready():
            if process.poll() is not None:
                raise LabError(f"nodemeshd ended with status {process.returncode}", world.log_of(log))
            return self.ctl(world, "status", node=node)

        kernel.wait_for(f"nodemeshd of {node} to be ready", is_ready, STARTUP, world.log_of(log))

    def enrol(self, world, pod):
        self.ctl(world, "workload", "enroll", "--namespace", "bench", "--name", pod, "--service-account", pod,
                 "--cgroup", str(world.cgroup_of(pod)), "--network-namespace", str(kernel.NETNS / network(pod)),
                 node=NODE_OF[pod])

    @staticmethod
    def config(world, name, values):
        """A file of its own also when it is empty: the host's in /etc is not for the benchmark. JSON is YAML too."""
        return world.write(f"nodemesh-{name}.yaml", json.dumps({key: _value(text) for key, text in values.items()}))

    def ctl(self, world, *arguments, node=None):
        """Runs nodemeshctl beside the control plane. ValueError, "not yet", when it says no."""
        environment = {**os.environ, "NODEMESH_CONTROL_PLANE": f"http://{API}",
                       "NODEMESH_TOKEN_FILE": str(RUN / "nodemesh" / "control" / "admin.token")}
        if node:
            environment["NODEMESH_NODE_SOCKET"] = str(RUN / "nodemesh" / node / "run" / "nodemeshd.sock")
        done = subprocess.run(
            [self.program("nodemeshctl"), *arguments], capture_output=True, text=True, timeout=60, env=environment,
            stdin=subprocess.DEVNULL, preexec_fn=lambda: kernel.enter(network("node1"), world.cgroup_of("tool")))
        if done.returncode:
            raise ValueError((done.stderr or done.stdout).strip())
        return done.stdout or "{}"

    # Stop

    def stop(self, world):
        world.end("node1", "node2", "control", patience=10)
        for node in self.nodes():
            cleanup(self.program("nodemeshd"), PREFIX + node)
        for pod in self.pods:
            release_capture_ports(pod)
        self.forget()

    @staticmethod
    def forget():
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(RUN / "nodemesh")


class NodemeshMoreLoops(Nodemesh):
    name, title = "nodemesh-loops", "nodemesh, one loop more"
    setting = "one event loop more than the others' workers"
    steps = ("streams8",)
    loops_more = 1


class NodemeshLocal(Nodemesh):
    name, group, title = "nodemesh-local", LOCAL, "nodemesh"
    setting = "as it comes: both pods enrolled on one node; policy and identities as always, no TLS inside the node"
    pods = ("client", "local")
    encrypts = proxies = False
    enrols = True
    # The kernel's own path from pod to pod is the one to be measured.
    is_guarded = False
    # Decisions of the kernel, one of which each connection has to bring about; none of them may happen where it is empty.
    decisions = ("direct", "captured")

    def tunnel(self):
        return None

    def decided(self, world):
        """How often the kernel decided about a connect, by decision."""
        return enrolment.ask("GET", "/v1/status")["steering"]


class NodemeshLocalProxied(NodemeshLocal):
    name, title = "nodemesh-local-proxied", "nodemesh, every connection through the proxy"
    setting = "directPath: off"
    options = {"directPath": "off"}
    decisions = ("captured",)
    enrols, is_guarded, proxies = False, True, True


class NodemeshLocalRedirect(NodemeshLocal):
    name, title = "nodemesh-local-redirect", "nodemesh, from veth to veth"
    setting = "redirectPeer: true"
    options = {"redirectPeer": "true"}
    enrols = False


class NodemeshLocalOutside(NodemeshLocal):
    name, title = "nodemesh-local-outside", "nodemesh, to an address outside the mesh"
    setting = "the client enrolled, the mesh prefix another"
    pods, mesh_prefix = ("client",), "10.99.0.0/16"
    decisions = ()
    enrols = False

    def wait_for_permission(self, world):
        """Nothing has to be allowed."""


class NodemeshLocalBystander(NodemeshLocalOutside):
    name, title = "nodemesh-local-bystander", "nodemesh, not enrolled"
    setting = "neither pod enrolled, on a node whose daemon steers others"
    pods, mesh_prefix = ("spare",), POD_PREFIX


def cleanup(daemon, instance):
    """Takes an instance's programs and maps out of the kernel."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run([daemon, "cleanup", "--instance", instance], stdin=subprocess.DEVNULL, capture_output=True,
                       timeout=30)


def release_capture_ports(pod):
    """Ended connections would keep the next daemon from listening there."""
    expression = " or ".join(f"sport = :{port}" for port in CAPTURE_PORTS)
    with contextlib.suppress(LabError):
        kernel.run("ss", "-N", network(pod), "-K", "-H", "-t", "-a", f"( {expression} )")


def _value(text):
    """A number where the text is one."""
    try:
        return json.loads(text)
    except ValueError:
        return text


