# SPDX-License-Identifier: Apache-2.0
"""What a workload costs: the time to enrol one, the memory it takes in the daemon, and a start with many."""

import contextlib
import http.client
import json
import socket
import time

from labkit import kernel
from labkit.kernel import LabError

from . import steps
from .world import PREFIX, RUN

MANY = 500
# The spare workloads' cgroups and namespaces; the names are the benchmark's, so that its end takes them away.
NAME = "many"
PATIENCE = 120


def sample(world, peer, count):
    made = {"peer": peer.name, "step": steps.ENROLMENT, "repetition": 1, "workers": peer.workers}
    try:
        made["figures"] = figures(world, peer, count)
    except (LabError, OSError, ValueError) as error:
        made["error"] = str(error)
    finally:
        remove(world, count)
    return made


def figures(world, peer, count):
    make(world, count)
    before = world.memory("node1")["anonymous"]
    times = sorted(enrol(world, number) for number in range(count))
    listed(count)
    # What enrolling needed may be given back a moment later.
    time.sleep(2)
    grown = world.memory("node1")["anonymous"] - before
    world.end("node1", patience=30)
    began = time.monotonic()
    peer.start_again(world, "node1")
    listed(count)
    return {
        "enrol_p50": times[count // 2], "enrol_p99": times[min(count - 1, count * 99 // 100)], "workloads": count,
        "workload_kb": max(0, grown) / count, "start_seconds": time.monotonic() - began,
    }


def make(world, count):
    for number in range(count):
        name = f"{NAME}-{number}"
        world.cgroup_of(name).mkdir()
        kernel.run("ip", "netns", "add", PREFIX + name)
        kernel.ip(PREFIX + name, "link set lo up", f"addr add {address(number)}/32 dev lo")


def remove(world, count):
    for number in range(count):
        name = f"{NAME}-{number}"
        with contextlib.suppress(OSError, LabError):
            world.cgroup_of(name).rmdir()
        with contextlib.suppress(LabError):
            kernel.run("ip", "netns", "delete", PREFIX + name)


def address(number):
    return f"10.211.{100 + number // 250}.{1 + number % 250}"


def enrol(world, number):
    """Milliseconds from the request to its answer."""
    name = f"{NAME}-{number}"
    body = json.dumps({
        "namespace": "bench", "name": name, "serviceAccount": "many", "labels": {},
        "cgroup": str(world.cgroup_of(name)), "networkNamespace": str(kernel.NETNS / (PREFIX + name)), "addresses": [address(number)],
    })
    began = time.monotonic()
    ask("POST", "/v1/workloads", body)
    return (time.monotonic() - began) * 1000


def listed(count):
    """Waits until all are enrolled."""

    def all_enrolled():
        found = [one for one in ask("GET", "/v1/workloads") if one["name"].startswith(f"{NAME}-")]
        ready = sum(1 for one in found if one["state"] == "enrolled")
        if ready < count:
            raise ValueError(f"{ready} of {count} are enrolled")
        return True

    kernel.wait_for("all workloads to be enrolled", all_enrolled, PATIENCE)


def ask(method, path, body=None):
    connection = http.client.HTTPConnection("localhost", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(30)
    with contextlib.closing(connection):
        connection.sock.connect(str(RUN / "nodemesh" / "node1" / "run" / "nodemeshd.sock"))
        connection.request(method, path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status >= 300:
            raise ValueError(f"{method} {path}: {answer.status} {text[:300]}")
        return json.loads(text) if text else None
