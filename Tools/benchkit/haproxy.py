# SPDX-License-Identifier: Apache-2.0
"""HAProxy in TCP mode: with TLS between the nodes, and on one node with splice."""

from . import certificates, tools
from .peer import LOCAL, SUITE, Peer
from .world import ADDRESS, INBOUND, OUTBOUND, PORTS

HEAD = """global
  nbthread {threads}
  maxconn {connections}
{more}defaults
  mode tcp
  backlog 16384
  timeout connect 5s
  timeout client 1h
  timeout server 1h
{defaults}"""


class HAProxy(Peer):
    name, title = "haproxy", "HAProxy"
    setting = "mode tcp on both nodes; TLS sessions resume (its default)"
    programs = ("haproxy",)
    # Two descriptors each, within the limit that is common.
    connections = 9900

    def version(self):
        return tools.version(["haproxy", "-v"], r"version (\d+\.\d+\.\d+)")

    def run(self, world, node, more, defaults, sections):
        head = HEAD.format(threads=self.workers, connections=self.connections, more=more, defaults=defaults)
        name = f"{self.name}-{node}"
        world.spawn(node, ["haproxy", "-db", "-f", world.write(f"{name}.cfg", head + "".join(sections))], name)

    def start(self, world, impostor=False):
        world.guard(closed=True)
        tls = f"ca-file {certificates.AUTHORITY} verify required ssl-min-ver TLSv1.3 ciphersuites {SUITE}"
        resumption = self.settings.resumption
        self.run(world, "node1", "", "", (
            f"listen {name}\n  bind {ADDRESS['node1']}:{OUTBOUND[name]}\n"
            f"  server next {ADDRESS['node2']}:{INBOUND[name]} ssl crt {certificates.bundle('node1')} {tls}"
            f" sni str(node2) verifyhost node2{'' if resumption else ' no-ssl-reuse'}\n"
            for name in PORTS))
        shown = certificates.bundle("impostor" if impostor else "node2")
        self.run(world, "node2", "", "", (
            f"listen {name}\n  bind {ADDRESS['node2']}:{INBOUND[name]} ssl crt {shown} {tls} curves X25519"
            f"{'' if resumption else ' no-tls-tickets'}\n"
            f"  server pod {ADDRESS['server']}:{PORTS[name]}\n"
            for name in PORTS))


class HAProxyLocal(HAProxy):
    """HAProxy 2.6 was seen to copy between local sockets with this option, whatever its buffers held."""

    name, title, group = "haproxy-local", "HAProxy, splice-auto", LOCAL
    setting = "one proxy, no TLS, option splice-auto"
    encrypts = False
    # A connection that is spliced needs pipes as well.
    connections = 4000
    more = "  maxpipes 2000\n"
    options = ("option splice-auto",)

    def start(self, world, impostor=False):
        world.guard(closed=True)
        self.run(world, "node1", self.more, "".join(f"  {option}\n" for option in self.options), (
            f"listen {name}\n  bind {ADDRESS['node1']}:{OUTBOUND[name]}\n"
            f"  server pod {ADDRESS['local']}:{PORTS[name]}\n" for name in PORTS))


class HAProxySplice(HAProxyLocal):
    name, title = "haproxy-local-splice", "HAProxy, splice"
    setting = "one proxy, no TLS, options splice-request and splice-response: always"
    options = ("option splice-request", "option splice-response")


class HAProxyLargePipes(HAProxySplice):
    name, title = "haproxy-local-1m", "HAProxy, splice, 1 MiB pipes"
    setting = "as before, with tune.pipesize 1048576"
    more = HAProxyLocal.more + "  tune.pipesize 1048576\n"
