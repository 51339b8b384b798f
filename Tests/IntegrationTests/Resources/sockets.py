#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every way to connect, and every way to listen, in both IP families.

    sockets.py serve                       listeners, one kind a port (below); each answers what it sees of its client
    sockets.py at NAME PORT...             dual-stack listeners that answer with NAME and what they see of their client
    sockets.py survey HOST4 HOST6 OWN4 OWN6
                                           every way to dial every listener; a line each: WAY FAMILY LISTENER: OUTCOME
    sockets.py dial WAY HOST PORT          one of them: what the client sees, and what the server answers
    sockets.py datagrams HOST PORT         a connected UDP socket: its peer, and the answer

The outcome is `right` when the client sees the address it dialled, and the server the address and port that the client
has; `refused` for a refusal or a reset; else what was seen.
"""

import contextlib
import errno
import json
import select
import socket
import struct
import sys
import threading

DUAL, SIX_ONLY, FOUR, OWN_FOUR, OWN_SIX, LOOPBACK, MULTIPATH, DATAGRAMS, ORIGINAL = range(7100, 7109)
LISTENERS = {"dual": DUAL, "v6only": SIX_ONLY, "v4": FOUR, "own4": OWN_FOUR, "own6": OWN_SIX, "loopback": LOOPBACK,
             "mptcp": MULTIPATH}
IPPROTO_MPTCP = 262
TCP_FASTOPEN_CONNECT = 30
SO_ORIGINAL_DST = 80


def own(family):
    """The address of this host's eth0, or None."""
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1" if family == socket.AF_INET else "2001:db8::1", 9))
        return probe.getsockname()[0]
    return None


def plain(address):
    """A socket address as `ip port`, without the form of a dual-stack socket."""
    ip = address[0].removeprefix("::ffff:") if "." in address[0] else address[0]
    return [ip.split("%")[0], address[1]]


def listen(family, host, port, v6only=None, protocol=0):
    listener = socket.socket(family, socket.SOCK_STREAM, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if v6only is not None:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)
    listener.bind((host, port))
    listener.listen(64)
    return listener


def original(connection):
    """SO_ORIGINAL_DST, as a transparent proxy asks for it."""
    if connection.family == socket.AF_INET or "." in connection.getsockname()[0]:
        value = connection.getsockopt(socket.IPPROTO_IP, SO_ORIGINAL_DST, 16)
        return [socket.inet_ntop(socket.AF_INET, value[4:8]), struct.unpack("!H", value[2:4])[0]]
    value = connection.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28)
    return [socket.inet_ntop(socket.AF_INET6, value[8:24]), struct.unpack("!H", value[2:4])[0]]


def answer(connection, accepted, asks=False, name=""):
    with connection:
        report = {"name": name, "accepted": plain(accepted), "peer": plain(connection.getpeername()),
                  "own": plain(connection.getsockname())}
        if asks:
            try:
                report["original"] = original(connection)
            except OSError as error:
                report["original"] = errno.errorcode[error.errno]
        # A client that sends with its SYN is answered after that.
        connection.settimeout(5)
        with contextlib.suppress(OSError):
            connection.recv(16)
        with contextlib.suppress(OSError):
            connection.sendall(json.dumps(report).encode())


def at(name, *ports):
    def accept(listener):
        while True:
            connection, address = listener.accept()
            threading.Thread(target=answer, args=(connection, address, False, name), daemon=True).start()

    for listener in [listen(socket.AF_INET6, "::", int(port), 0) for port in ports]:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
    print("serving", flush=True)
    threading.Event().wait()


def serve():
    four, six = own(socket.AF_INET), own(socket.AF_INET6)
    listeners = []
    if six:
        listeners += [listen(socket.AF_INET6, "::", DUAL, 0), listen(socket.AF_INET6, "::", SIX_ONLY, 1),
                      listen(socket.AF_INET6, six, OWN_SIX, 1), listen(socket.AF_INET6, "::1", LOOPBACK, 1),
                      listen(socket.AF_INET6, "::", ORIGINAL, 0)]
        with contextlib.suppress(OSError):
            listeners.append(listen(socket.AF_INET6, "::", MULTIPATH, 0, IPPROTO_MPTCP))
    if four:
        listeners += [listen(socket.AF_INET, "0.0.0.0", FOUR), listen(socket.AF_INET, four, OWN_FOUR)]
    listeners.append(listen(socket.AF_INET, "127.0.0.1", LOOPBACK))

    def accept(listener):
        while True:
            connection, address = listener.accept()
            asks = listener.getsockname()[1] == ORIGINAL
            threading.Thread(target=answer, args=(connection, address, asks), daemon=True).start()

    datagrams = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("::" if six else "0.0.0.0", DATAGRAMS))

    def echo():
        while True:
            _, address = datagrams.recvfrom(64)
            datagrams.sendto(json.dumps(plain(address)).encode(), address)

    for target in [*(lambda one=one: accept(one) for one in listeners), echo]:
        threading.Thread(target=target, daemon=True).start()
    print("serving", flush=True)
    threading.Event().wait()


# The client. Each way gives a socket that is connected or being connected, and whether it has sent its byte.


def connect_plain(family, address):
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.settimeout(10)
    connection.connect(address)
    return connection, False


def connect_mapped(family, address):
    return connect_plain(socket.AF_INET6, (f"::ffff:{address[0]}" if family == socket.AF_INET else address[0], address[1]))


def connect_nonblocking(family, address):
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.setblocking(False)
    code = connection.connect_ex(address)
    if code != errno.EINPROGRESS:
        raise OSError(code, "connect_ex")
    select.select([], [connection], [], 10)
    code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, "SO_ERROR")
    connection.settimeout(10)
    return connection, False


def connect_bound(family, address):
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.settimeout(10)
    connection.bind((own(family), 0))
    connection.connect(address)
    return connection, False


def connect_fastopen(family, address):
    connection = socket.socket(family, socket.SOCK_STREAM)
    # Blocking: with a timeout Python would ask for a connection that goes on by itself.
    connection.sendto(b"x", socket.MSG_FASTOPEN, address)
    connection.settimeout(10)
    return connection, True


def connect_fastopen_lazily(family, address):
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.settimeout(10)
    connection.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
    connection.connect(address)
    return connection, False


def connect_multipath(family, address):
    connection = socket.socket(family, socket.SOCK_STREAM, IPPROTO_MPTCP)
    connection.settimeout(10)
    connection.connect(address)
    return connection, False


WAYS = {"plain": connect_plain, "mapped": connect_mapped, "nonblocking": connect_nonblocking, "bound": connect_bound,
        "fastopen": connect_fastopen, "fastopen-lazy": connect_fastopen_lazily, "mptcp": connect_multipath}


def dial(way, host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        connection, has_sent = WAYS[way](family, (host, int(port)))
        with connection:
            if not has_sent:
                connection.sendall(b"x")
            parts = b""
            while data := connection.recv(4096):
                parts += data
            # Afterwards: with Fast Open there is nothing to see before.
            seen = {"peer": [host, int(port)], "own": None}
            with contextlib.suppress(OSError):
                seen = {"peer": plain(connection.getpeername()), "own": plain(connection.getsockname())}
            if not parts:
                return "refused", {}, {}
            return None, seen, json.loads(parts)
    except (ConnectionRefusedError, ConnectionResetError, BrokenPipeError):
        return "refused", {}, {}
    except TimeoutError:
        return "timeout", {}, {}
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error)), {}, {}


def survey(host4, host6, own4, own6):
    for way in WAYS:
        for family, host, mine in (("4", host4, own4), ("6", host6, own6)):
            for name, port in LISTENERS.items():
                # Each way once with one listener, and each listener once.
                if host == "-" or (way != "plain" and name != "dual"):
                    continue
                outcome, seen, told = dial(way, host, port)
                if outcome is None:
                    client = seen["own"]
                    right = (seen["peer"] == [host, port] and client and client[0] == mine
                             and told["peer"] == client and told["accepted"] == client
                             and told["own"][1] == port)
                    outcome = "right" if right else f"saw {json.dumps(seen)}, told {json.dumps(told)}"
                print(f"{way} {family} {name}: {outcome}", flush=True)


def datagrams(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as connection:
        connection.settimeout(5)
        connection.connect((host, int(port)))
        connection.send(b"x")
        told = json.loads(connection.recv(64))
        right = connection.getpeername()[0] == host and told == plain(connection.getsockname())
        print("right" if right else told)


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in ("serve", "at", "survey", "dial", "datagrams"):
        sys.exit(__doc__)
    if sys.argv[1] == "dial":
        outcome, seen, told = dial(*sys.argv[2:])
        print(outcome or json.dumps({"seen": seen, "told": told}))
    else:
        globals()[sys.argv[1]](*sys.argv[2:])
