# SPDX-License-Identifier: Apache-2.0
"""The results as text: a table for each thing measured, with medians, ranges, and ratios to nodemesh.

Markdown, so that it can be read on a terminal and pasted into a document.
"""

import unicodedata

from .results import divided, machine, short_number, spread, spread_of

# What stands around the block that `insert` replaces.
BEGIN, END = "<!-- performance: table and picture -->", "<!-- performance: end -->"
ACROSS = ("plain", "nodemesh", "nodemesh-loops", "envoy-tcp", "envoy-connect", "haproxy", "nginx")
OWN = ("nodemesh-local", "nodemesh-local-redirect", "nodemesh-local-proxied", "nodemesh-local-outside",
       "nodemesh-local-bystander")
LOCAL = ("plain-local", *OWN, "envoy-tcp-local", "haproxy-local", "haproxy-local-splice", "haproxy-local-1m",
         "nginx-local")
# Columns: (heading, figure, scale). A ratio is nodemesh's median by the peer's.
PERCENTILES = tuple((f"{name} µs", figure, 1) for name, figure in
                    (("p50", "p50"), ("p90", "p90"), ("p99", "p99"), ("p99.9", "p999")))
STREAM = (("Gbit/s", "gbps", 1), ("CPU s/GB", "cpu_per_gb", 1), ("user space", "cpu_per_gb_user", 1),
          ("node 1", "cpu_per_gb_node1", 1),
          ("node 2", "cpu_per_gb_node2", 1))
EACH = (("CPU µs each", "cpu_each", 1), ("user space", "cpu_each_user", 1),
        ("node 1", "cpu_each_node1", 1), ("node 2", "cpu_each_node2", 1))
RATE = (("per second", "rate", 1),)
FAILED = (("failed", "errors", 1),)


def tables(results):
    """[(title, lines)] of what was measured."""
    out = []

    def add(title, peers, step, columns, ratio=None, added=()):
        rows = rows_of(results, peers, step, columns, ratio, added)
        if len(rows) > 1:
            out.append((title, aligned(rows)))

    add("Between the nodes: one stream", ACROSS, "stream1", STREAM, "gbps")
    add("Between the nodes: eight streams", ACROSS, "streams8", STREAM, "gbps")
    add("64 B ping-pong on one connection", ACROSS, "ping", PERCENTILES + EACH[:1], None, ("p50", "p99"))
    add("64 B ping-pong, idle cores kept awake", ACROSS, "ping-awake", PERCENTILES + EACH[:1], None, ("p50", "p99"))
    add("1 KB requests on 16 connections", ACROSS, "requests", RATE + PERCENTILES + EACH[:1], "rate")
    add("New connections: connect, 64 B each way, close; 32 at a time", ACROSS, "short",
        RATE + PERCENTILES[:1] + PERCENTILES[2:3] + EACH + FAILED, "rate")
    add("HTTP/1.1 keep-alive, 1 KB answers, 32 connections", ACROSS, "http",
        RATE + PERCENTILES[:3] + EACH[:1] + FAILED, "rate")
    for title, step, columns, ratio in (
        ("one stream", "stream1", STREAM[:3], "cpu_per_gb"), ("eight streams", "streams8", STREAM[:3], "cpu_per_gb"),
        ("64 B ping-pong", "ping", PERCENTILES + EACH[:1], "p50"),
        ("new connections", "short", RATE + PERCENTILES[:1] + PERCENTILES[2:3] + EACH[:1] + FAILED, "rate"),
    ):
        add(f"On one node, without TLS: {title}", LOCAL, step, columns, ratio)
    out += same_node_tables(results)
    out += enrolment_tables(results)
    out += memory_tables(results)
    out += count_tables(results)
    return out


# What nodemesh's ways from pod to pod are compared with plain TCP in: (heading, step, figure).
COMPARED = (
    ("one stream", "stream1", "gbps"), ("32 streams", "streams32", "gbps"),
    ("CPU per GB, all", "stream1", "cpu_per_gb_everybody"),
    ("64 B p50", "ping", "p50"), ("p99", "ping", "p99"), ("1 KB p50", "ping-1k", "p50"), ("p99", "ping-1k", "p99"),
    ("16 KB p50", "ping-16k", "p50"), ("p99", "ping-16k", "p99"), ("new connection p50", "connect", "p50"),
    ("32 at a time, rate", "short", "rate"),
)


def same_node_tables(results):
    """Ratios to plain TCP over the same links, repetition by repetition."""
    rows = [["", *(heading for heading, _, _ in COMPARED)]]
    for peer in OWN:
        pairs = [results.paired(peer, "plain-local", step, figure) for _, step, figure in COMPARED]
        if any(pairs):
            rows.append([title_of(results, peer), *(spread_of(values) if values else "-" for values in pairs)])
    return [("On one node: nodemesh's ratios to plain TCP over the same links", aligned(rows))] if len(rows) > 1 else []


def enrolment_tables(results):
    columns = (("workloads", "workloads"), ("enrolling one, p50 ms", "enrol_p50"), ("p99 ms", "enrol_p99"),
               ("daemon's start with all, s", "start_seconds"), ("anonymous memory of each, KB", "workload_kb"))
    rows = [["", *(heading for heading, _ in columns)]]
    for peer in OWN:
        if results.of(peer, "enrolment"):
            rows.append([title_of(results, peer), *(spread(results, peer, "enrolment", figure) for _, figure in columns)])
    return [("Enrolment", aligned(rows))] if len(rows) > 1 else []


def rows_of(results, peers, step, columns, ratio, added):
    whose = "proxied nodemesh's" if peers is LOCAL else "nodemesh's"
    rows = [["", *(heading for heading, _, _ in columns), *([f"{whose} {ratio_name(ratio)}"] if ratio else []),
             *(f"{figure} added µs" for figure in added)]]
    # One proxy with another.
    own = "nodemesh-local-proxied" if peers is LOCAL else "nodemesh"
    base = "plain-local" if peers is LOCAL else "plain"
    for peer in peers:
        if not results.of(peer, step):
            continue
        row = [title_of(results, peer), *(spread(results, peer, step, figure, scale) for _, figure, scale in columns)]
        if ratio:
            value = results.ratio(own, peer, step, ratio)
            row.append("" if peer == own or value is None else f"{value:.2f} ×")
        row += ["" if peer == base else short_number(results.added(peer, step, figure, base)) for figure in added]
        rows.append(row)
    return rows


def ratio_name(figure):
    return {"gbps": "throughput", "rate": "rate", "cpu_per_gb": "CPU per GB", "p50": "p50"}[figure] + " to this"


def title_of(results, peer):
    return results.about.get("peers", {}).get(peer, {}).get("title", peer)


def summary(results):
    """One row for each peer between the nodes: what one looks for first. Medians alone."""
    columns = [
        ("one stream, Gbit/s", lambda peer: results.median(peer, "stream1", "gbps")),
        ("CPU s/GB", lambda peer: results.median(peer, "stream1", "cpu_per_gb")),
        ("added to a 64 B round trip, p50 µs", lambda peer: over_plain(results, peer, "p50")),
        ("p99 µs", lambda peer: over_plain(results, peer, "p99")),
        ("1 KB requests/s", lambda peer: results.median(peer, "requests", "rate")),
        ("new connections/s", lambda peer: results.median(peer, "short", "rate")),
        ("idle connection, KB", lambda peer: divided(results.median(peer, "memory", "per_connection"), 1024)),
        ("at start, RSS MB", lambda peer: divided(results.median(peer, "memory", "start_rss_node1"), 1024)),
    ]
    rows = [[title_of(results, peer), *(short_number(value(peer)) for _, value in columns)]
            for peer in ACROSS if peer != "nodemesh-loops"]
    rows = [row for row in rows if any(cell != "-" for cell in row[1:])]
    return aligned([["", *(heading for heading, _ in columns)], *rows]) if rows else []


def over_plain(results, peer, figure):
    return None if peer == "plain" else results.added(peer, "ping", figure)


def insert(document, block):
    """The document with the block between its two marks; ValueError without them."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"there are no marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{block}\n\n{END}{after}"


def for_document(results, picture=None):
    """The summary, what it was measured on, and the picture, as Markdown."""
    about = results.about
    versions = dict.fromkeys(f"{family_title(one)} {one['version']}" for one in about.get("peers", {}).values()
                             if one.get("version"))
    parts = ["\n".join(summary(results)),
             f"Measured {about.get('date', '')} on {machine(about)}: {', '.join(versions)}."]
    if picture:
        parts.append(f"![nodemesh and its peers]({picture})")
    return "\n\n".join(parts)


def family_title(peer):
    return peer["title"].split(",")[0].split(" ")[0]


def memory_tables(results):
    at_start = [["", *(f"{kind}, node {number}" for kind in ("RSS MB", "PSS MB", "anonymous MB") for number in (1, 2))]]
    held = [["", *(f"{kind}, node {number}" for kind in ("anonymous KB", "PSS KB") for number in (1, 2)), "connections"]]
    for peer in ACROSS:
        if not results.of(peer, "memory"):
            continue
        at_start.append([title_of(results, peer), *(
            spread(results, peer, "memory", f"start_{kind}_node{number}", 1 / 1024)
            for kind in ("rss", "pss", "anonymous") for number in (1, 2))])
        counts = sorted({int(key[4:].split("_")[0]) for one in results.of(peer, "memory") for key in one["figures"]
                         if key.startswith("idle")})
        for count in counts:
            held.append([title_of(results, peer), *(
                spread(results, peer, "memory", f"idle{count}_{kind}_node{number}", 1 / 1024)
                for kind in ("anonymous", "pss") for number in (1, 2)), f"{count:,}"])
    if len(at_start) == 1:
        return []
    return [("Memory at start", aligned(at_start)), ("Memory of an idle connection", aligned(held))]


def count_tables(results):
    columns = [("system calls per MB", "calls_per_mb"), ("per connection", "calls_per_connection"),
               ("instructions per MB", "instructions_per_mb"), ("per connection", "instructions_per_connection")]
    columns = [one for one in columns if any(one[1] in sample.get("figures", {}) for sample in results.samples)]
    rows = [["", *(heading for heading, _ in columns), "most of them, per connection"]]
    for peer in ACROSS + LOCAL:
        for sample in results.of(peer, "counts")[-1:]:
            calls = sample.get("calls", {}).get("connection", {})
            named = ", ".join(f"{name} {short_number(count)}" for name, count in list(calls.items())[:5])
            suffix = ", on one node" if peer in LOCAL else ""
            figures = (spread(results, peer, "counts", figure) for _, figure in columns)
            rows.append([title_of(results, peer) + suffix, *figures, named])
    return [("Counted: one stream, and new connections; all proxies together", aligned(rows))] if len(rows) > 1 else []


def aligned(rows):
    """Rows of cells as a Markdown table; numbers to the right."""
    widths = [max(3, *(width(row[i]) for row in rows)) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(padded(cell, widths[i], i > 0) for i, cell in enumerate(row)) + " |" for row in rows]
    rule = "|" + "|".join("-" * (size + 2) if i == 0 else "-" * (size + 1) + ":" for i, size in enumerate(widths)) + "|"
    return [lines[0], rule, *lines[1:]]


def width(text):
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def padded(text, size, to_right):
    space = " " * (size - width(text))
    return space + text if to_right else text + space


def noise(results):
    """What to know of the machine before believing the figures."""
    timed = [one for one in results.samples if "foreign" in one]
    if not timed:
        return []
    kept = [one for one in timed if not one.get("superseded") and "figures" in one]
    foreign = sorted(one["foreign"] for one in timed)
    lines = [f"{len(kept)} samples, {sum(1 for one in kept if one['noisy'])} of them noisy (left out of a median where a "
             f"quiet one is there; marked ~ where none is), {len(timed) - len(kept)} repeated or failed.",
             f"Others used {foreign[len(foreign) // 2]:.2f} cores in the middle and {foreign[-1]:.2f} at the most; "
             f"at most {max(one['stolen'] for one in timed):.2f} were stolen."]
    return lines


def text(results):
    about = results.about
    out = []
    if about:
        out += [f"{about.get('date', '')}: {machine(about)}", ""]
        for name, peer in about.get("peers", {}).items():
            out.append(f"{peer['title']}{' ' + peer['version'] if peer['version'] else ''} ({name}): {peer['setting']}")
        out += [f"left out: {name}: {why}" for name, why in about.get("absent", {}).items()]
        out.append("")
    for title, lines in [*tables(results), ("Summary", summary(results))]:
        if lines:
            out += [f"### {title}", "", *lines, ""]
    out += ["Medians (least–most)."] + noise(results) + about.get("notes", [])
    out += [f"failed: {one['peer']} {one['step']}: {one['error']}" for one in results.errors()]
    return "\n".join(out)
