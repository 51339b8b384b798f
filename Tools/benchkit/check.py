# SPDX-License-Identifier: Apache-2.0
"""What must hold of a peer before it is timed: data arrive whole, the wire shows none of them, strangers are refused."""

import contextlib
import socket
import ssl
import threading
import time

from labkit import kernel
from labkit.kernel import LabError

from .world import ADDRESS, PORTS, network

BULK = 20_000_000
# What `load ping` sends.
MARK = b"p" * 64
ALL_PROTOCOLS = 3
# Packets that must have crossed the link.
ENOUGH, ATTEMPTS = 10, 10


def claims(world, peer):
    """[(claim, whether it holds)] of a peer that is up."""
    address, port = peer.dial("echo")
    decided = decisions(world, peer)
    found = [(f"{BULK // 1_000_000} MB come back as they were sent, and then the end",
              succeeds(lambda: world.execute("client", [world.load, "verify", address, port, BULK], 60)))]
    if decided is not None:
        found += steering(world, peer, decided)
    if peer.destination() != "server":
        return found
    packets, has_mark = 0, False
    # On a busy machine hardly anything may get through in so short a time.
    for _ in range(ATTEMPTS):
        with contextlib.suppress(LabError):
            more, seen = watch_link(lambda: world.execute("client", [world.load, "ping", address, port, 1, 64, 0.3], 60))
            packets, has_mark = packets + more, has_mark or seen
        if packets > ENOUGH:
            break
    if peer.encrypts:
        found.append(("the link between the nodes carries it, and shows none of it", packets > ENOUGH and not has_mark))
    else:
        found.append(("the link between the nodes shows it (the control of that check)", has_mark))
    if peer.tunnel():
        version, answer = call_without_certificate(peer)
        older, _ = call_without_certificate(peer, ssl.TLSVersion.TLSv1_2)
        found.append(("node 2 speaks TLS 1.3, and nothing older", version == "TLSv1.3" and older is None))
        found.append(("node 2 refuses a client without a certificate", not answer))
    return found


# Connections, of which all but the first may go directly.
CONNECTIONS = 5
# Every decision about a connect that the kernel counts and that lets it pass.
PASSING = ("direct", "captured")


def decisions(world, peer):
    """How often the kernel decided about connects until now; None of a peer that steers nothing on one node."""
    return peer.decided(world) if hasattr(peer, "decided") else None


def steering(world, peer, before):
    """[(claim, whether it holds)] of how connections from pod to pod went, by the kernel's own counts."""
    address, port = peer.dial("echo")
    for _ in range(CONNECTIONS):
        world.execute("client", [world.load, "verify", address, port, 1000], 30)
    after = peer.decided(world)
    counted = {name: after.get(name, 0) - before.get(name, 0) for name in PASSING}
    # One more was made by the check before.
    steered = sum(counted.values()) > CONNECTIONS
    if not peer.decisions:
        return [("the kernel leaves its connections alone", not any(counted.values()))]
    found = [(f"each connection is one that the kernel counts as {' or '.join(peer.decisions)}", steered)]
    if "direct" in peer.decisions:
        found.append(("connections after the first go directly", counted["direct"] > 0))
    else:
        found.append(("no connection goes directly", counted["direct"] == 0))
    return found


def bypass(world):
    """[(claim, whether it holds)] of the topology: with the nodes closed and no proxy there is no way through."""
    found = []
    for closed in (False, True):
        world.guard(closed=closed)
        for pod in ("server", "local"):
            passes = succeeds(lambda: world.execute(
                "client", [world.load, "verify", ADDRESS[pod], PORTS["echo"], 1000], 30))
            found.append((f"{'without a proxy the closed nodes pass nothing' if closed else 'open nodes pass data'}"
                          f" to {pod}", passes is not closed))
    return found


def succeeds(function):
    try:
        function()
        return True
    except LabError:
        return False


def watch_link(function):
    """(packets, whether one had the mark) that crossed the link between the nodes while `function` ran."""
    link = kernel.in_network(network("node1"), open_link)
    outcome, done = {"packets": 0, "mark": False}, threading.Event()

    def read():
        while True:
            try:
                packet = link.recv(1 << 17)
            except TimeoutError:
                if done.is_set():
                    return
                continue
            outcome["packets"] += 1
            outcome["mark"] = outcome["mark"] or MARK in packet

    reader = threading.Thread(target=read)
    reader.start()
    try:
        function()
        time.sleep(0.2)
    finally:
        done.set()
        reader.join()
        link.close()
    return outcome["packets"], outcome["mark"]


def open_link():
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
    link.bind(("trunk", 0))
    link.settimeout(0.2)
    return link


def call_without_certificate(peer, newest=ssl.TLSVersion.MAXIMUM_SUPPORTED):
    """(TLS version, whether the other side answered) when node 1 calls node 2 without a certificate of its own.

    In TLS 1.3 the client's handshake is done before the server misses the certificate.
    """

    def call():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = newest
        context.set_alpn_protocols(["http/1.1"])
        version, answer = None, b""
        with contextlib.suppress(OSError), socket.create_connection(peer.tunnel(), timeout=3) as plain:
            with context.wrap_socket(plain, server_hostname=peer.server_name) as tls:
                version = tls.version()
                tls.sendall(b"GET / HTTP/1.1\r\nhost: node2\r\n\r\n")
                answer = tls.recv(1000)
        return version, bool(answer)

    return kernel.in_network(network("node1"), call)
