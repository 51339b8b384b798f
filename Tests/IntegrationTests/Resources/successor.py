#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A nodemeshd that begins to take over from a running one, and does not end well.

    successor.py SOCKET stranger ABI        another node's; prints what it is told
    successor.py SOCKET newer ABI           reads formats that the running one does not write; prints what it is told
    successor.py SOCKET dies ABI            goes away with the state in its hands; prints how many descriptors came
    successor.py SOCKET hangs-early ABI     stops (SIGSTOP) with the locks in its hands; prints its process id
    successor.py SOCKET hangs-late ABI      stops with the state in its hands; prints its process id
"""

import json
import os
import re
import signal
import socket
import sys
import time


class Successor:
    def __init__(self, path, abi):
        self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.connection.settimeout(90)
        self.connection.connect(path)
        self.abi = abi

    def say(self, word, **fields):
        self.connection.send(json.dumps({word: fields}).encode())

    def hear(self):
        """The answer's word, its fields, and how many descriptors came with it, which are closed again at the end."""
        data, descriptors, _, _ = socket.recv_fds(self.connection, 65536, 16)
        word, fields = next(iter(json.loads(data).items()))
        return word, fields, len(descriptors)

    def hello(self, node, instance, formats):
        self.say("hello", _0={
            "protocol": 1, "version": "test", "node": node, "instance": instance, "oldestFormat": formats[0],
            "newestFormat": formats[1], "abi": self.abi})
        return self.hear()


def hang():
    print(os.getpid(), flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)


def main():
    path, how, abi = sys.argv[1:]
    # Who runs there, it says to a stranger.
    word, fields, _ = Successor(path, int(abi)).hello("nobody", "nothing", (1, 900))
    if how == "stranger":
        print(word, fields["reason"])
        return
    node, instance = re.search(r"node (\S+), instance (\S+) runs here", fields["reason"]).groups()
    successor = Successor(path, int(abi))
    word, fields, _ = successor.hello(node, instance, (900, 901) if how == "newer" else (1, 900))
    if how == "newer":
        print(word, fields["drains"], fields["reason"])
        return
    assert word == "accepted", fields
    if how == "hangs-early":
        hang()
    # As one that prepares itself.
    time.sleep(0.2)
    successor.say("give")
    word, _, count = successor.hear()
    if how == "hangs-late":
        assert (word, count) == ("state", 3), (word, count)
        hang()
    print(word, count, flush=True)


main()
