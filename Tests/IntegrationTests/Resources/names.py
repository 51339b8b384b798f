# SPDX-License-Identifier: Apache-2.0
"""Asks for names as resolvers of programs do, whose libraries are not at hand, and as nobody should.

names.py ask HOW SERVER[,SERVER] NAME [TYPE]   prints one line of JSON
  HOW: connected  each query from a connected socket of its own, TCP where the answer is cut (Go)
       all        one unconnected socket asks all servers, takes the first answer from any of them (musl)
       each       one unconnected socket asks all servers, and wants one answer from each
       many       as `each`, with one sendmmsg(2)
       tcp        over TCP, with two queries before the first answer
names.py steady SERVER NAME OTHER RATE         asks for a name of the mesh and another, so often a second and in each of
                                               several ways, until its input ends; prints what has come of it so far
names.py hostile SERVER COUNT                  sends nonsense, then prints whether a question is answered
"""

import ctypes
import ipaddress
import json
import random
import socket
import struct
import sys
import threading
import time

TYPES = {"A": 1, "AAAA": 28, "TXT": 16, "HTTPS": 65, "SRV": 33, "ANY": 255}


def query(name, kind="A", number=None, edns=None):
    number = random.randrange(65536) if number is None else number
    head = struct.pack("!6H", number, 0x0100, 1, 0, 0, 1 if edns else 0)
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
    tail = struct.pack("!BHHIH", 0, 41, edns, 0, 0) if edns else b""
    return number, head + labels + b"\0" + struct.pack("!2H", TYPES[kind], 1) + tail


def skip(message, offset):
    while True:
        length = message[offset]
        if length >= 192:
            return offset + 2
        offset += length + 1
        if length == 0:
            return offset


def read(message):
    number, flags, questions, answers, _, _ = struct.unpack_from("!6H", message)
    offset = 12
    for _ in range(questions):
        offset = skip(message, offset) + 4
    name = message[12:offset - 4]
    found = []
    for _ in range(answers):
        offset = skip(message, offset)
        kind, _, time, length = struct.unpack_from("!HHIH", message, offset)
        offset += 10
        data = message[offset:offset + length]
        found.append(str(ipaddress.ip_address(data)) if kind in (1, 28) else data.hex())
        offset += length
    return {"id": number, "code": flags & 15, "truncated": bool(flags & 0x200), "question": name.hex(),
            "answers": sorted(found), "size": len(message)}


def family(server):
    return socket.AF_INET6 if ":" in server else socket.AF_INET


def udp(kind):
    one = socket.socket(kind, socket.SOCK_DGRAM)
    one.settimeout(5)
    return one


def tcp(server, messages):
    with socket.socket(family(server), socket.SOCK_STREAM) as one:
        one.settimeout(10)
        one.connect((server, 53))
        peer = one.getpeername()[0]
        for message in messages:
            one.sendall(struct.pack("!H", len(message)) + message)
        data = b""
        found = []
        while len(found) < len(messages):
            data += one.recv(65536) or sys.exit("the connection ended")
            while len(data) >= 2 and len(data) >= 2 + struct.unpack_from("!H", data)[0]:
                length = struct.unpack_from("!H", data)[0]
                found.append(data[2:2 + length])
                data = data[2 + length:]
        return found, peer


def connected(servers, name, kind):
    number, message = query(name, kind)
    with udp(family(servers[0])) as one:
        one.connect((servers[0], 53))
        peer = one.getpeername()[:2]
        one.send(message)
        data, sender = one.recvfrom(4096)
        answer = read(data)
        answer["ok"] = sender[:2] == peer == (servers[0], 53) and answer["id"] == number
    if answer["truncated"]:
        (data,), peer = tcp(servers[0], [message])
        answer = {**read(data), "ok": answer["ok"] and peer == servers[0], "tcp": True}
    return answer


def mapped(server):
    return server if ":" in server else "::ffff:" + server


def unconnected(servers, name, kind, wanted, at_once=False):
    number, message = query(name, kind)
    is_mixed = len({family(one) for one in servers}) > 1
    shown = [mapped(one) if is_mixed else one for one in servers]
    with udp(socket.AF_INET6 if is_mixed else family(servers[0])) as one:
        one.bind(("", 0))
        if at_once:
            send_many(one, shown, message)
        else:
            for server in shown:
                one.sendto(message, (server, 53))
        senders = []
        for _ in range(wanted):
            data, sender = one.recvfrom(4096)
            senders.append(sender[:2])
    answer = read(data)
    answer["ok"] = answer["id"] == number and all(sender in [(one, 53) for one in shown] for sender in senders)
    if wanted > 1:
        answer["ok"] = answer["ok"] and sorted(senders) == sorted((one, 53) for one in shown)
    return answer


class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_char_p), ("length", ctypes.c_size_t)]


class Header(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("name_length", ctypes.c_uint32), ("vector", ctypes.POINTER(Vector)),
                ("count", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
                ("flags", ctypes.c_int), ("padding", ctypes.c_int), ("sent", ctypes.c_uint)]


def send_many(one, servers, message):
    libc = ctypes.CDLL(None, use_errno=True)
    headers = (Header * len(servers))()
    kept = []
    for header, server in zip(headers, servers):
        if one.family == socket.AF_INET6:
            name = struct.pack("=HHI16sI", socket.AF_INET6, socket.htons(53), 0,
                               ipaddress.ip_address(server).packed, 0)
        else:
            name = struct.pack("=HH4s8x", socket.AF_INET, socket.htons(53), ipaddress.ip_address(server).packed)
        vector = Vector(message, len(message))
        kept += [name, vector]
        header.name, header.name_length = name, len(name)
        header.vector, header.count = ctypes.pointer(vector), 1
    sent = libc.sendmmsg(one.fileno(), headers, len(servers), 0)
    if sent != len(servers):
        sys.exit(f"sendmmsg: {sent} {ctypes.get_errno()}")


def ask(how, servers, name, kind="A"):
    servers = servers.split(",")
    if how == "connected":
        answer = connected(servers, name, kind)
    elif how == "all":
        answer = unconnected(servers, name, kind, 1)
    elif how in ("each", "many"):
        answer = unconnected(servers, name, kind, len(servers), at_once=how == "many")
    else:
        first, second = query(name, kind), query("nobody." + name, kind)
        found, peer = tcp(servers[0], [first[1], second[1]])
        answers = {one["id"]: one for one in map(read, found)}
        answer = {**answers[first[0]], "ok": peer == servers[0] and second[0] in answers, "second":
                  answers[second[0]]["code"]}
    print(json.dumps(answer))


def hostile(server, count):
    random.seed(1)
    _, good = query("web.shop.mesh.internal", edns=1232)
    with udp(family(server)) as one:
        for _ in range(int(count)):
            message = bytearray(good)
            for _ in range(random.randrange(1, 12)):
                message[random.randrange(len(message))] = random.choice([0, 1, 63, 64, 127, 191, 192, 255])
            one.sendto(bytes(message[:random.randrange(len(message) + 1)]) if random.random() < 0.3 else bytes(message),
                       (server, 53))
        for message in (b"", b"\0" * 12, b"\xff" * 65000, good[:12] + b"\xc0\x0c" + good[-4:]):
            one.sendto(message, (server, 53))
    with socket.socket(family(server), socket.SOCK_STREAM) as one:
        one.connect((server, 53))
        one.sendall(b"\xff\xff" + b"\xff" * 1000)
    # The flood may have filled the queue before this; programs ask again too.
    for _ in range(8):
        try:
            return ask("connected", server, "web.shop.mesh.internal")
        except TimeoutError:
            continue
    sys.exit("no answer")


class Kept:
    """One connection for many queries, and another when it was closed."""

    def __init__(self):
        self.socket = None

    def ask(self, server, name):
        if self.socket is None:
            self.socket = socket.create_connection((server, 53), 5)
        try:
            _, message = query(name)
            self.socket.sendall(struct.pack("!H", len(message)) + message)
            data = b""
            while len(data) < 2 or len(data) < 2 + struct.unpack_from("!H", data)[0]:
                more = self.socket.recv(65536)
                if not more:
                    raise ConnectionResetError("closed")
                data += more
            return read(data[2:])
        except OSError:
            self.socket.close()
            self.socket = None
            raise


class Steady:
    """As the C library asks: twice, and longer than a daemon takes to start again."""

    ATTEMPTS = 2

    def __init__(self, server, name, other):
        kept = Kept()
        self.ways = {
            "udp": lambda: connected([server], name, "A"),
            "tcp": lambda: read(tcp(server, [query(name)[1]])[0][0]),
            "kept": lambda: kept.ask(server, name),
            "other": lambda: connected([server], other, "A"),
        }
        self.lock = threading.Lock()
        self.result = {way: {"asked": 0, "failed": [], "again": 0, "slowest": 0} for way in self.ways}
        self.ended = threading.Event()

    def once(self, way):
        begin, problems = time.monotonic(), []
        while len(problems) < self.ATTEMPTS:
            try:
                answer = self.ways[way]()
                if answer["code"] == 0 and answer["answers"] and answer.get("ok", True):
                    break
                # Whoever is told that there is no such name does not ask again.
                problems += [f"code {answer['code']} {answer['answers']}"] * self.ATTEMPTS
            except (OSError, SystemExit) as error:
                problems.append(str(error) or type(error).__name__)
        with self.lock:
            result = self.result[way]
            result["asked"] += 1
            result["again"] += bool(problems)
            result["slowest"] = max(result["slowest"], round(time.monotonic() - begin, 3))
            if len(problems) >= self.ATTEMPTS:
                result["failed"] = [*result["failed"], "; ".join(problems)][:20]

    def run(self, way, interval):
        while not self.ended.is_set():
            begin = time.monotonic()
            self.once(way)
            self.ended.wait(max(0, begin + interval - time.monotonic()))

    def show(self):
        with self.lock:
            print(json.dumps(self.result), flush=True)


def steady(server, name, other, rate):
    asking = Steady(server, name, other)
    threads = [threading.Thread(target=asking.run, args=(way, 1 / float(rate))) for way in asking.ways]
    for thread in threads:
        thread.start()
    threading.Thread(target=lambda: (sys.stdin.read(), asking.ended.set()), daemon=True).start()
    while not asking.ended.wait(0.2):
        asking.show()
    for thread in threads:
        thread.join()
    asking.show()


{"ask": ask, "steady": steady, "hostile": hostile}[sys.argv[1]](*sys.argv[2:])
