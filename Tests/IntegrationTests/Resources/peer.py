#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Both ends of the tests' TCP connections: servers with one behaviour a port, and clients that say what they saw.

    peer.py serve NAME                      all behaviours; NAME is what the `name` port answers
    peer.py talk HOST PORT [TEXT]           send TEXT, FIN, read to the end, print the answer
    peer.py names HOST PORT COUNT           connect that often, print what each connection answers
    peer.py where HOST PORT                 print the peer as the client sees it, then what the server says
    peer.py end HOST PORT [TEXT]            print how it ends: refused reset eof timeout, and what was read before
    peer.py upload HOST PORT BYTES          to `collect`: print the SHA-256 of both ends
    peer.py download HOST PORT BYTES        from `source`: print the SHA-256 of both ends
    peer.py reset HOST PORT TEXT            to `witness`: send TEXT, read it back, then RST
    peer.py touch HOST PORT TEXT            send TEXT, then RST
    peer.py flood HOST PORT SECONDS         write without being read; print the bytes taken
    peer.py many HOST PORT COUNT PARALLEL   short conversations; print how many went right and wrong
    peer.py steady HOST PORT SECONDS        one conversation, a message each 10 ms; print the answers and the longest wait
    peer.py hold HOST PORT COUNT            open idle connections until standard input ends
    peer.py knock TEXT HOST…                send TEXT to the echo of each, over and over until standard input ends; print
                                            a line each: own port, begin and end in seconds, host, ok or how it failed
"""

import hashlib
import itertools
import socket
import struct
import sys
import threading
import time

ECHO, WHOAMI, COLLECT, SOURCE, RESET, DEAF, NAME, WITNESS, LAST_WORD = range(7000, 7009)
BLOCK = 1 << 20


def blocks(size):
    """Pseudo-random bytes, each block different."""
    pattern = hashlib.shake_256(b"nodemesh").digest(BLOCK)
    number = 0
    while size > 0:
        block = struct.pack("!Q", number) + pattern[8:]
        yield block[:size]
        size -= len(block)
        number += 1


def read_all(connection, digest=None):
    """What arrives before the end, or its length when a digest takes it."""
    parts, total = [], 0
    while data := connection.recv(BLOCK):
        total += len(data)
        if digest:
            digest.update(data)
        else:
            parts.append(data)
    return total if digest else b"".join(parts)


def read_line(connection):
    line = b""
    while not line.endswith(b"\n"):
        data = connection.recv(1)
        if not data:
            raise EOFError("the end came before the line's")
        line += data
    return line.decode().strip()


def abort(connection):
    """Closes with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def echo(connection, name):
    while data := connection.recv(65536):
        connection.sendall(data)


def whoami(connection, name):
    """Speaks first: who the server takes the client for, and itself."""
    client, server = connection.getpeername(), connection.getsockname()
    connection.sendall(f"{client[0]} {client[1]} {server[0]} {server[1]}\n".encode())


def collect(connection, name):
    digest = hashlib.sha256()
    size = read_all(connection, digest)
    connection.sendall(f"{size} {digest.hexdigest()}\n".encode())


def source(connection, name):
    digest = hashlib.sha256()
    for block in blocks(int(read_line(connection))):
        digest.update(block)
        connection.sendall(block)
    connection.shutdown(socket.SHUT_WR)
    # The other direction still works after this one's end: the client reports what it computed.
    print("source", "same" if read_line(connection) == digest.hexdigest() else "different", flush=True)


def reset(connection, name):
    connection.recv(1)
    abort(connection)


def deaf(connection, name):
    """Reads nothing for longer than any test writes; then it closes, and the connection ends."""
    time.sleep(8)


def tell_name(connection, name):
    connection.sendall(f"{name}\n".encode())


def witness(connection, name):
    """Sends back what it got, and prints how the client ended."""
    tag = b""
    try:
        while data := connection.recv(65536):
            tag += data
            connection.sendall(data)
        print("ended eof", tag.decode(), flush=True)
    except ConnectionResetError:
        print("ended reset", tag.decode(), flush=True)


def last_word(connection, name):
    """Ends its own direction first, then reads on."""
    connection.sendall(b"over\n")
    connection.shutdown(socket.SHUT_WR)
    print("heard", read_all(connection).decode(), flush=True)


BEHAVIOURS = {
    ECHO: echo, WHOAMI: whoami, COLLECT: collect, SOURCE: source, RESET: reset, DEAF: deaf, NAME: tell_name,
    WITNESS: witness, LAST_WORD: last_word,
}


def serve(name):
    def handle(connection, behaviour):
        try:
            with connection:
                behaviour(connection, name)
        except (OSError, EOFError, ValueError) as error:
            print(f"{behaviour.__name__}: {error}", flush=True)

    def accept(listener, behaviour):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=handle, args=(connection, behaviour), daemon=True).start()

    listeners = []
    for port, behaviour in BEHAVIOURS.items():
        listener = socket.create_server(("0.0.0.0", port), backlog=1024)
        listeners.append((listener, behaviour))
    threads = [threading.Thread(target=accept, args=pair, daemon=True) for pair in listeners]
    for thread in threads:
        thread.start()
    print("serving", flush=True)
    threading.Event().wait()


def connect(host, port, timeout=20):
    return socket.create_connection((host, int(port)), timeout)


def talk(host, port, text=""):
    with connect(host, port) as connection:
        connection.sendall(text.encode())
        connection.shutdown(socket.SHUT_WR)
        sys.stdout.write(read_all(connection).decode())


def names(host, port, count):
    for _ in range(int(count)):
        talk(host, port)


def where(host, port):
    with connect(host, port) as connection:
        print(*connection.getpeername()[:2], *connection.getsockname()[:2])
        sys.stdout.write(read_all(connection).decode())


def end(host, port, text=""):
    seen = b""
    try:
        with connect(host, port, 10) as connection:
            if text:
                connection.sendall(text.encode())
            while data := connection.recv(65536):
                seen += data
            outcome = "eof"
    except ConnectionRefusedError:
        outcome = "refused"
    except (ConnectionResetError, BrokenPipeError):
        outcome = "reset"
    except TimeoutError:
        outcome = "timeout"
    except OSError as error:
        outcome = error.strerror.replace(" ", "-")
    print(outcome, seen.decode().strip())


def upload(host, port, size):
    digest = hashlib.sha256()
    with connect(host, port, 300) as connection:
        for block in blocks(int(size)):
            digest.update(block)
            connection.sendall(block)
        connection.shutdown(socket.SHUT_WR)
        print(size, digest.hexdigest())
        print(read_line(connection))


def download(host, port, size):
    digest = hashlib.sha256()
    with connect(host, port, 300) as connection:
        connection.sendall(f"{size}\n".encode())
        print(read_all(connection, digest), digest.hexdigest())
        connection.sendall(f"{digest.hexdigest()}\n".encode())


def send_reset(host, port, text):
    connection = connect(host, port)
    connection.sendall(text.encode())
    # The text must be there before the reset, which overtakes and discards.
    left = len(text)
    while left > 0:
        left -= len(connection.recv(left)) or sys.exit("the server ended first")
    abort(connection)


def touch(host, port, text):
    """What every behaviour of a server bears."""
    connection = connect(host, port)
    connection.sendall(text.encode())
    time.sleep(0.3)
    abort(connection)


def flood(host, port, seconds):
    taken, deadline = 0, time.monotonic() + float(seconds)
    with connect(host, port) as connection:
        connection.settimeout(0.2)
        while time.monotonic() < deadline:
            try:
                taken += connection.send(bytes(65536))
            except TimeoutError:
                pass
    print(taken)


def many(host, port, count, parallel):
    tally, lock, left = {"right": 0, "wrong": 0}, threading.Lock(), iter(range(int(count)))

    def worker():
        while True:
            with lock:
                number = next(left, None)
            if number is None:
                return
            text, outcome = f"message {number}".encode() * 10, "wrong"
            try:
                with connect(host, port) as connection:
                    connection.sendall(text)
                    connection.shutdown(socket.SHUT_WR)
                    if read_all(connection) == text:
                        outcome = "right"
            except OSError as error:
                print(error, file=sys.stderr)
            with lock:
                tally[outcome] += 1

    threads = [threading.Thread(target=worker) for _ in range(int(parallel))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(tally["right"], tally["wrong"])


def steady(host, port, seconds):
    answers, longest, deadline = 0, 0.0, time.monotonic() + float(seconds)
    with connect(host, port) as connection:
        while time.monotonic() < deadline:
            asked = time.monotonic()
            connection.sendall(f"{answers}\n".encode())
            if read_line(connection) != str(answers):
                sys.exit("another answer")
            longest = max(longest, time.monotonic() - asked)
            answers += 1
            time.sleep(0.01)
    print(answers, round(longest * 1000))


def hold(host, port, count):
    held = [connect(host, port) for _ in range(int(count))]
    for connection in held:
        connection.sendall(b"x")
        connection.recv(1)
    print("holding", flush=True)
    sys.stdin.read()


def knock(text, *hosts):
    message, over, lock = text.encode() * 3, threading.Event(), threading.Lock()

    def attempt(host):
        own, begin, outcome = 0, time.time(), "ok"
        with socket.socket() as connection:
            connection.settimeout(10)
            try:
                # Bound first: a refused socket no longer tells its port.
                connection.bind(("0.0.0.0", 0))
                own = connection.getsockname()[1]
                connection.connect((host, ECHO))
                connection.sendall(message)
                connection.shutdown(socket.SHUT_WR)
                if read_all(connection) != message:
                    outcome = "short"
            except OSError as error:
                outcome = type(error).__name__
        with lock:
            print(own, f"{begin:.3f} {time.time():.3f}", host, outcome, flush=True)

    def worker(number):
        for turn in itertools.count(number):
            if over.is_set():
                return
            attempt(hosts[turn % len(hosts)])
            over.wait(0.01)

    threads = [threading.Thread(target=worker, args=(number,)) for number in range(len(hosts))]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    commands = {
        "serve": serve, "talk": talk, "where": where, "names": names, "end": end, "upload": upload, "download": download,
        "reset": send_reset, "touch": touch, "flood": flood, "many": many, "steady": steady, "hold": hold, "knock": knock,
    }
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](*sys.argv[2:])
