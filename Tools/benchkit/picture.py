# SPDX-License-Identifier: Apache-2.0
"""The results as a picture: panels of bars, in SVG that follows the reader's light or dark theme."""

from xml.sax.saxutils import escape

from .results import machine, short_number

PEERS = ("plain", "nodemesh", "envoy-tcp", "envoy-connect", "haproxy", "nginx")
LOCAL = ("nodemesh-local-proxied", "envoy-tcp-local", "haproxy-local-splice", "haproxy-local-1m", "nginx-local")
# Pixels.
WIDTH, GAP, MARGIN, LABEL, BAR, ROW, HEAD = 430, 30, 16, 175, 14, 22, 52

STYLE = """
    text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #24292f; }
    .title { font-weight: 600; font-size: 13px; }
    .note { fill: #57606a; font-size: 11px; }
    .own { fill: #0969da; } .other { fill: #8c959f; } .plain { fill: #d0d7de; } .axis { stroke: #d0d7de; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; } .note { fill: #9198a1; }
      .own { fill: #4493f8; } .other { fill: #6e7681; } .plain { fill: #3d444d; } .axis { stroke: #3d444d; }
    }
"""


def panels(results):
    """[(title, note, [(peer's title, class, value)])], each with at least two bars."""

    def bars(peers, value):
        found = []
        for peer in peers:
            number = value(peer)
            if number is not None:
                kind = "own" if peer.startswith("nodemesh") else "plain" if peer.startswith("plain") else "other"
                found.append((results.about.get("peers", {}).get(peer, {}).get("title", peer), kind, max(0, number)))
        return found

    def median(step, figure, scale=1):
        def value(peer):
            number = results.median(peer, step, figure)
            return None if number is None else number * scale
        return value

    def added(figure):
        return lambda peer: results.added(peer, "ping", figure)

    proxies = PEERS[1:]
    more, less = "more is better", "less is better"
    wanted = [
        ("One stream, Gbit/s", more, bars(PEERS, median("stream1", "gbps"))),
        ("CPU seconds per GB, both nodes", less, bars(proxies, median("stream1", "cpu_per_gb"))),
        ("Time added to a 64 B round trip, median, µs", less, bars(proxies, added("p50"))),
        ("Time added, 99th percentile, µs", less, bars(proxies, added("p99"))),
        ("1 KB requests per second, 16 connections", more, bars(PEERS, median("requests", "rate"))),
        ("New connections per second", more, bars(proxies, median("short", "rate"))),
        ("Memory of an idle connection, KB", less, bars(proxies, median("memory", "per_connection", 1 / 1024))),
        ("On one node, no TLS: CPU seconds per GB", less, bars(LOCAL, median("stream1", "cpu_per_gb"))),
    ]
    return [panel for panel in wanted if len(panel[2]) > 1]


def svg(results):
    drawn, height, parts = panels(results), MARGIN, []
    for left in range(0, len(drawn), 2):
        row = drawn[left:left + 2]
        for column, panel in enumerate(row):
            parts += draw(panel, MARGIN + column * (WIDTH + GAP), height)
        height += HEAD + ROW * max(len(panel[2]) for panel in row)
    for line in caption(results.about):
        height += 14
        parts.append(f'<text class="note" x="{MARGIN}" y="{height}">{escape(line)}</text>')
    across, down = 2 * MARGIN + 2 * WIDTH + GAP, height + 14
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {across} {down}" width="{across}" height="{down}" '
        'role="img" aria-label="nodemesh and its peers, measured">',
        f"  <style>{STYLE}  </style>", *(f"  {part}" for part in parts), "</svg>", ""])


def draw(panel, x, y):
    title, note, bars = panel
    most = max(value for _, _, value in bars) or 1
    room = WIDTH - LABEL - 60
    height = ROW * len(bars)
    parts = [f'<text class="title" x="{x}" y="{y + 12}">{escape(title)}</text>',
             f'<text class="note" x="{x + WIDTH}" y="{y + 12}" text-anchor="end">{note}</text>',
             f'<line class="axis" x1="{x + LABEL}" y1="{y + 20}" x2="{x + LABEL}" y2="{y + 22 + height}"/>']
    for i, (name, kind, value) in enumerate(bars):
        top, length = y + 25 + i * ROW, max(1, value / most * room)
        parts += [f'<text x="{x + LABEL - 8}" y="{top + 11}" text-anchor="end">{escape(name)}</text>',
                  f'<rect class="{kind}" x="{x + LABEL}" y="{top}" width="{length:.1f}" height="{BAR}" rx="2"/>',
                  f'<text x="{x + LABEL + length + 6:.1f}" y="{top + 11}">{short_number(value)}</text>']
    return parts


def caption(about):
    if not about:
        return []
    return [
        f"Two nodes as network namespaces on one machine: {machine(about)}.",
        "Mutual TLS 1.3 between the nodes, but for plain TCP. Medians. Measured by Tools/bench.",
    ]
