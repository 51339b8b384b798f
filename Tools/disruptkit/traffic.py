#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Connections that notice every byte that is lost, doubled or late.

    traffic.py serve PORT
    traffic.py long COUNT HOST:PORT…     open COUNT connections, evenly over the servers; print "open" when they are;
                                         end them when standard input ends, and print what happened as JSON
    traffic.py short RATE HOST:PORT…     that many connections a second, each a question and its answer, until standard
                                         input ends; print what happened as JSON

Both ends of a long connection send blocks all the time, each at its own pace: a tenth 64 KiB ten times a second, three
tenths one block in five seconds, the others one block in half a second. A block says whose it is and its number; the
last one says how many there were and what its sender saw.
"""

import errno
import json
import random
import selectors
import socket
import struct
import sys
import time

BLOCK = 1024
HEADER = struct.Struct("!QQQ")
DATA, END = 1, 2
FILLER = bytes(random.Random(7).randrange(256) for _ in range(BLOCK - HEADER.size))
# Blocks at a time and seconds between.
BULK, STEADY, IDLE = (64, 0.1), (1, 0.5), (1, 5.0)
PACES = [BULK] + [STEADY] * 6 + [IDLE] * 3
GRACE = 60


def word(error):
    return errno.errorcode.get(error.errno, type(error).__name__) if isinstance(error, OSError) else str(error)


class Flow:
    """One end of a long connection."""

    def __init__(self, connection, number, is_client):
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = connection
        self.is_client = is_client
        self.identify(number)
        self.pending = b""
        self.sent = self.received = 0
        self.partial = b""
        self.ending = self.has_sent_end = self.is_over = False
        self.verdict = None
        self.failure = None
        self.heard = self.next = time.monotonic()
        self.longest = 0.0
        self.longest_at = 0.0

    def identify(self, number):
        self.number = number
        self.count, self.interval = PACES[(number or 0) % len(PACES)]

    def key(self, of_client):
        return self.number * 2 + (1 if of_client else 0)

    def tick(self, now):
        """Has as much to send as its pace says."""
        if self.number is None or self.has_sent_end or self.pending or now < self.next:
            return
        self.next = now + self.interval
        blocks = []
        if not self.ending:
            for _ in range(self.count):
                blocks.append(HEADER.pack(self.key(self.is_client), self.sent, DATA) + FILLER)
                self.sent += 1
        else:
            verdict = json.dumps({"received": self.received, "longest": round(self.longest, 3),
                                  "failure": self.failure}).encode()
            blocks.append((HEADER.pack(self.key(self.is_client), self.sent, END) + verdict).ljust(BLOCK, b" "))
            self.has_sent_end = True
        self.pending = b"".join(blocks)

    def write(self):
        while self.pending:
            try:
                self.pending = self.pending[self.connection.send(self.pending):]
            except BlockingIOError:
                return
        if self.has_sent_end and not self.is_over:
            self.is_over = True
            self.connection.shutdown(socket.SHUT_WR)

    def read(self, now):
        """Whether there may be more to come."""
        for _ in range(8):
            try:
                data = self.connection.recv(1 << 18)
            except BlockingIOError:
                return True
            if not data:
                if self.verdict is None:
                    raise ValueError("cut")
                return False
            if self.received:
                # Beyond what the pace lets expect.
                late = now - self.heard - self.interval
                if late > self.longest:
                    self.longest, self.longest_at = late, time.time()
            self.heard = now
            self.check(data)
        return True

    def check(self, data):
        data = self.partial + data
        whole = len(data) - len(data) % BLOCK
        self.partial = data[whole:]
        for start in range(0, whole, BLOCK):
            key, number, kind = HEADER.unpack_from(data, start)
            if self.number is None:
                self.identify(key // 2)
            if self.verdict is not None or key != self.key(not self.is_client) or number != self.received:
                raise ValueError(f"bytes: block {number} of {key} where {self.received} of "
                                 f"{self.key(not self.is_client)} should be")
            if kind == END:
                self.verdict = json.loads(data[start + HEADER.size:start + BLOCK])
                self.ending = True
                self.next = 0
                continue
            if data[start + HEADER.size:start + BLOCK] != FILLER:
                raise ValueError(f"bytes: block {number} of {key} has other bytes")
            self.received += 1


class Loop:
    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.flows = set()

    def add(self, flow):
        self.flows.add(flow)
        self.selector.register(flow.connection, selectors.EVENT_READ, flow)

    def end(self, flow, failure=None):
        flow.failure = flow.failure or failure
        self.flows.discard(flow)
        self.selector.unregister(flow.connection)
        flow.connection.close()

    def turn(self, others):
        """One turn; `others` takes what is ready and no flow."""
        ready = self.selector.select(0.02)
        now = time.monotonic()
        for key, _ in ready:
            if not isinstance(key.data, Flow):
                others(key)
                continue
            flow = key.data
            try:
                if not flow.read(now):
                    flow.tick(now)
                    flow.write()
                    self.end(flow)
            except (OSError, ValueError) as error:
                self.end(flow, word(error))
        for flow in list(self.flows):
            try:
                flow.tick(now)
                flow.write()
            except OSError as error:
                self.end(flow, word(error))


def serve(port):
    listener = socket.create_server(("", port), backlog=4096, reuse_port=False)
    listener.setblocking(False)
    short = socket.create_server(("", port + 1), backlog=4096)
    short.setblocking(False)
    loop = Loop()
    loop.selector.register(listener, selectors.EVENT_READ, "long")
    loop.selector.register(short, selectors.EVENT_READ, "short")

    def others(key):
        if key.data in ("long", "short"):
            try:
                connection, _ = key.fileobj.accept()
            except OSError:
                return
            if key.data == "long":
                loop.add(Flow(connection, None, is_client=False))
            else:
                connection.setblocking(False)
                loop.selector.register(connection, selectors.EVENT_READ, "question")
            return
        connection = key.fileobj
        try:
            data = connection.recv(4096)
            if data:
                connection.send(data)
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        loop.selector.unregister(connection)
        connection.close()

    while True:
        loop.turn(others)


def target(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


def long(count, servers):
    loop, flows, refused = Loop(), [], {}
    for number in range(count):
        server = servers[number % len(servers)]
        try:
            connection = socket.create_connection(target(server), timeout=GRACE)
        except OSError as error:
            refused[word(error)] = refused.get(word(error), 0) + 1
            continue
        flow = Flow(connection, number // len(servers) + (number % len(servers)) * 1_000_000, is_client=True)
        flow.server = server
        flows.append(flow)
        loop.add(flow)
        loop.turn(lambda key: None)
    print("open", flush=True)
    loop.selector.register(sys.stdin, selectors.EVENT_READ, "input")
    stop = []

    def others(key):
        if not sys.stdin.buffer.raw.read(4096):
            loop.selector.unregister(sys.stdin)
            stop.append(time.monotonic())
            for flow in flows:
                flow.ending, flow.next = True, 0

    while loop.flows and (not stop or time.monotonic() < stop[0] + GRACE):
        loop.turn(others)
    while not stop:
        loop.turn(others)
    for flow in list(loop.flows):
        loop.end(flow, "no end")
    report = {"connections": count, "refused": refused, "servers": {}}
    for server in servers:
        mine = [flow for flow in flows if flow.server == server]
        failures = {}
        for flow in mine:
            failure = flow.failure
            if failure is None and flow.verdict["received"] != flow.sent:
                failure = "bytes: the server counts others"
            failure = failure or flow.verdict["failure"]
            if failure:
                failures[failure[:60]] = failures.get(failure[:60], 0) + 1
        quick = [flow for flow in mine if flow.interval < 1]
        worst = max(quick, key=lambda flow: flow.longest, default=None)
        report["servers"][server] = {
            "connections": len(mine), "failures": failures,
            "bytes": sum((flow.sent + flow.received) * BLOCK for flow in mine),
            "longestStall": max([flow.longest for flow in quick]
                                + [flow.verdict["longest"] for flow in quick if flow.verdict], default=0),
            "longestAt": worst.longest_at if worst else 0,
        }
    print(json.dumps(report), flush=True)


def short(rate, servers):
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ, None)
    failures, done, longest, number = {}, 0, 0.0, 0
    open_ones = {}
    stop = None
    begin = time.monotonic()
    print("open", flush=True)

    def finish(connection, failure=None):
        nonlocal done, longest
        started, _, _ = open_ones.pop(connection)
        selector.unregister(connection)
        connection.close()
        longest = max(longest, time.monotonic() - started)
        done += 1
        if failure:
            failures[failure] = failures.get(failure, 0) + 1

    while stop is None or open_ones:
        now = time.monotonic()
        if stop is not None and now > stop + GRACE:
            for connection in list(open_ones):
                finish(connection, "no end")
            break
        while stop is None and number < (now - begin) * rate:
            connection = socket.socket()
            connection.setblocking(False)
            question = f"question {number}".encode()
            open_ones[connection] = (now, question, False)
            selector.register(connection, selectors.EVENT_WRITE, None)
            server = target(servers[number % len(servers)])
            number += 1
            code = connection.connect_ex((server[0], server[1] + 1))
            if code not in (0, errno.EINPROGRESS):
                finish(connection, f"connect {errno.errorcode.get(code, code)}")
        for key, _ in selector.select(0.01):
            connection = key.fileobj
            if connection is sys.stdin:
                if not sys.stdin.buffer.raw.read(4096):
                    selector.unregister(sys.stdin)
                    stop = now
                continue
            started, question, is_sent = open_ones[connection]
            try:
                if not is_sent:
                    code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if code:
                        finish(connection, f"connect {errno.errorcode.get(code, code)}")
                        continue
                    connection.send(question)
                    open_ones[connection] = (started, question, True)
                    selector.modify(connection, selectors.EVENT_READ, None)
                    continue
                answer = connection.recv(4096)
                finish(connection, None if answer == question else "cut" if not answer else "bytes")
            except BlockingIOError:
                continue
            except OSError as error:
                finish(connection, word(error))
    print(json.dumps({"connections": done, "failures": failures, "longest": round(longest, 3)}), flush=True)


def main():
    verb, *rest = sys.argv[1:]
    if verb == "serve":
        serve(int(rest[0]))
    elif verb == "long":
        long(int(rest[0]), rest[1:])
    elif verb == "short":
        short(float(rest[0]), rest[1:])
    else:
        sys.exit(__doc__)


main()
