# SPDX-License-Identifier: Apache-2.0
"""What nodemesh wants to be, as numbers: each goal is a figure of the results and a bound."""

from dataclasses import dataclass
from typing import Callable

from .results import divided, short_number

# The memory of each of two nodes counts: the worse one.
NODES = ("node1", "node2")


@dataclass(frozen=True)
class Goal:
    text: str
    figure: Callable
    bound: float
    # The figure should be at least the bound; otherwise at most.
    at_least: bool = True
    unit: str = "×"

    def verdict(self, results):
        """(value, met): both None where it was not measured."""
        value = self.figure(results)
        if value is None:
            return None, None
        return value, value >= self.bound if self.at_least else value <= self.bound

    def line(self, results):
        value, met = self.verdict(results)
        word = {None: "not measured", True: "met", False: "MISSED"}[met]
        sign = "≥" if self.at_least else "≤"
        found = "" if value is None else short_number(value)
        return f"{word:<12}  {found:>6} {sign} {self.bound:<4g} {self.unit:<2}  {self.text}"


def against(peer, step, figure, own="nodemesh"):
    return lambda results: results.ratio(own, peer, step, figure)


def added_against(peer, figure, step="ping"):
    return lambda results: divided(results.added("nodemesh", step, figure), results.added(peer, step, figure))


def to_plain(variant, step, figure):
    """Of a variant on one node to plain TCP over the same links: the median of the repetitions' ratios."""
    peer = f"nodemesh-local{variant}"
    return lambda results: results.paired_median(peer, "plain-local", step, figure)


def worst(figure, scale):
    """Of the two nodes, in the memory step."""

    def value(results):
        found = [results.median("nodemesh", "memory", figure.format(node=node)) for node in NODES]
        found = [one for one in found if one is not None]
        return max(found) * scale if found else None

    return value


ALL = [
    Goal("one stream, of Envoy TCP's throughput", against("envoy-tcp", "stream1", "gbps"), 1.3),
    Goal("one stream, of HAProxy's throughput", against("haproxy", "stream1", "gbps"), 1.8),
    Goal("CPU time per GB, of Envoy TCP's (one stream)", against("envoy-tcp", "stream1", "cpu_per_gb"), 0.75, False),
    Goal("CPU time per GB, of Envoy TCP's (eight streams)", against("envoy-tcp", "streams8", "cpu_per_gb"), 0.75, False),
    Goal("CPU time per GB without TLS, of HAProxy's with splice-auto",
         against("haproxy-local", "stream1", "cpu_per_gb", "nodemesh-local-proxied"), 0.45, False),
    Goal("CPU time per GB without TLS, of HAProxy's that always splices",
         against("haproxy-local-splice", "stream1", "cpu_per_gb", "nodemesh-local-proxied"), 0.45, False),
    Goal("CPU time per GB without TLS, of HAProxy's that always splices, with 1 MiB pipes",
         against("haproxy-local-1m", "stream1", "cpu_per_gb", "nodemesh-local-proxied"), 0.45, False),
    Goal("64 B ping-pong, median time added to plain TCP, of what Envoy TCP adds", added_against("envoy-tcp", "p50"),
         0.7, False),
    Goal("64 B ping-pong, 99th percentile added to plain TCP, of what Envoy TCP adds", added_against("envoy-tcp", "p99"),
         0.7, False),
    Goal("1 KB requests on 16 connections, of Envoy TCP's rate", against("envoy-tcp", "requests", "rate"), 1.5),
    Goal("new connections, of Envoy TCP's rate", against("envoy-tcp", "short", "rate"), 1.5),
    Goal("new connections, of the rate of Envoy's HTTP/2 CONNECT", against("envoy-connect", "short", "rate"), 1),
    Goal("user-space memory of an idle connection on the worse node",
         lambda results: divided(results.median("nodemesh", "memory", "per_connection"), 1024), 1.5, False, "KB"),
    Goal("daemon at start, resident", worst("start_rss_{node}", 1 / 1024), 50, False, "MB"),
    Goal("daemon at start, of that anonymous", worst("start_anonymous_{node}", 1 / 1024), 12, False, "MB"),
    Goal("eight streams with one event loop more, of the throughput without",
         lambda results: divided(results.median("nodemesh-loops", "streams8", "gbps"),
                                 results.median("nodemesh", "streams8", "gbps")), 1.01),
    Goal("on one node: one stream, of plain TCP's throughput", to_plain("", "stream1", "gbps"), 0.98),
    Goal("on one node: 32 streams, of plain TCP's throughput", to_plain("", "streams32", "gbps"), 0.98),
    Goal("on one node: 64 B ping-pong, of plain TCP's median", to_plain("", "ping", "p50"), 1.02, False),
    Goal("on one node: 1 KB ping-pong, of plain TCP's median", to_plain("", "ping-1k", "p50"), 1.02, False),
    Goal("on one node: 16 KB ping-pong, of plain TCP's median", to_plain("", "ping-16k", "p50"), 1.02, False),
    Goal("on one node: 64 B ping-pong from veth to veth, of plain TCP's median", to_plain("-redirect", "ping", "p50"),
         0.9, False),
    Goal("on one node: a new connection, of plain TCP's median", to_plain("", "connect", "p50"), 1.15, False),
    Goal("on one node: a new connection outside the mesh, of plain TCP's median", to_plain("-outside", "connect", "p50"),
         1.05, False),
    # Nothing of nodemesh is in its way; what is left is noise.
    Goal("on one node: 64 B ping-pong of pods not enrolled, of plain TCP's median", to_plain("-bystander", "ping", "p50"),
         1.03, False),
    Goal("on one node: one stream of pods not enrolled, of plain TCP's throughput",
         to_plain("-bystander", "stream1", "gbps"), 0.97),
    Goal("enrolling a workload, median",
         lambda results: results.median("nodemesh-local", "enrolment", "enrol_p50"), 10, False, "ms"),
]


def lines(results):
    return [goal.line(results) for goal in ALL]


def missed(results):
    return sum(1 for goal in ALL if goal.verdict(results)[1] is False)
