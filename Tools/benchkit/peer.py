# SPDX-License-Identifier: Apache-2.0
"""What is common to all that is measured."""

from dataclasses import dataclass

from . import tools
from .world import ADDRESS, INBOUND, OUTBOUND, PORTS

TUNNEL = 15008
# What a peer with AES instructions chooses by itself; set where a library would choose AES-256.
SUITE = "TLS_AES_128_GCM_SHA256"

# The groups of steps a peer takes part in: between the nodes, and from pod to pod on node 1.
ACROSS, LOCAL = "across", "local"


@dataclass
class Settings:
    workers: int = 1
    resumption: bool = True
    binaries: str = ""
    # KEY=VALUE of nodemeshd's configuration.
    nodemesh: tuple = ()


class Peer:
    """One way from the client to a server. `start` leaves it running in the cgroups node1 and node2."""

    name = ""
    title = ""
    # How it is set up in what matters to the figures; printed with them.
    setting = ""
    group = ACROSS
    # Steps it is measured in, when not all of the group.
    steps = None
    # Programs it needs.
    programs = ()
    encrypts = True
    proxies = True
    # Whether the time to enrol workloads is measured with it.
    enrols = False
    # Whether `start` can show a certificate that node 1 does not trust.
    has_impostor = True

    def __init__(self, settings):
        self.settings = settings

    @property
    def workers(self):
        return self.settings.workers

    @classmethod
    def family(cls):
        """Its name without what the variant adds: `nodemesh` of `nodemesh-local`."""
        return cls.name.partition("-local")[0].partition("-loops")[0]

    def unavailable(self):
        """Why it cannot be measured here, or None."""
        absent = tools.missing(self.programs)
        return f"{', '.join(absent)} not found" if absent else None

    def version(self):
        return ""

    def start(self, world, impostor=False):
        """Impostor: node 2 shows a certificate by an authority that node 1 does not trust."""
        raise NotImplementedError

    def stop(self, world):
        world.end("node1", "node2")

    def nodes(self):
        """Where it has processes."""
        return ("node1",) if self.group == LOCAL else ("node1", "node2")

    def destination(self):
        return "local" if self.group == LOCAL else "server"

    def dial(self, service):
        """Where the client connects to, for a service."""
        return ADDRESS["node1"], OUTBOUND[service]

    # The name that node 2 is called by in TLS.
    server_name = "node2"

    def tunnel(self):
        """Where node 2 takes TLS for the echo service, or None."""
        return (ADDRESS["node2"], INBOUND["echo"]) if self.encrypts else None


class Transparent(Peer):
    """The client dials the server itself."""

    def dial(self, service):
        return ADDRESS[self.destination()], PORTS[service]


class Plain(Transparent):
    name, title = "plain", "plain TCP"
    setting = "no proxy, no TLS: the nodes forward"
    encrypts = proxies = False

    def start(self, world, impostor=False):
        world.guard(closed=False)

    def nodes(self):
        return ()


class PlainLocal(Plain):
    name, group = "plain-local", LOCAL
