# SPDX-License-Identifier: Apache-2.0
"""Samples, and what is told of several: the median, the least and the most, and ratios of medians."""

import json
import statistics
from pathlib import Path


class Results:
    """`about` describes machine and peers; each sample is one step of one peer in one repetition.

    A sample: {"peer", "step", "repetition", "figures"} or "error" in place of figures; also "noisy", "superseded" (it was
    repeated), "foreign" (cores that others used), "stolen", "seconds".
    """

    def __init__(self, about=None, samples=None):
        self.about = about or {}
        self.samples = samples or []

    @staticmethod
    def load(paths):
        """Several runs as one; the description is that of the first."""
        merged = Results()
        for path in paths:
            document = json.loads(Path(path).read_text())
            merged.about = merged.about or document["about"]
            merged.samples += document["samples"]
        return merged

    def save(self, path):
        document = {"about": self.about, "medians": self.medians(), "samples": self.samples}
        Path(path).write_text(json.dumps(document, indent=1) + "\n")

    def peers(self):
        return list(dict.fromkeys(sample["peer"] for sample in self.samples))

    def of(self, peer, step):
        return [one for one in self.samples if one["peer"] == peer and one["step"] == step
                and "figures" in one and not one.get("superseded")]

    def values(self, peer, step, figure):
        """(values, all of them noisy): those of quiet samples where there is one."""
        found = [one for one in self.of(peer, step) if one["figures"].get(figure) is not None]
        quiet = [one for one in found if not one.get("noisy")]
        return [one["figures"][figure] for one in quiet or found], bool(found) and not quiet

    def median(self, peer, step, figure):
        values, _ = self.values(peer, step, figure)
        return statistics.median(values) if values else None

    def ratio(self, peer, other, step, figure):
        return divided(self.median(peer, step, figure), self.median(other, step, figure))

    def paired(self, peer, other, step, figure):
        """Ratios of two peers' figures, one for each repetition that has both: what drifts between repetitions cancels.

        Those of repetitions with a noisy sample only where no other is.
        """
        def by_repetition(name):
            return {one["repetition"]: one for one in self.of(name, step) if one["figures"].get(figure)}

        own, base = by_repetition(peer), by_repetition(other)
        pairs = [(own[number], base[number]) for number in sorted(own.keys() & base.keys())]
        quiet = [pair for pair in pairs if not any(one.get("noisy") for one in pair)]
        return [mine["figures"][figure] / theirs["figures"][figure] for mine, theirs in quiet or pairs]

    def paired_median(self, peer, other, step, figure):
        found = self.paired(peer, other, step, figure)
        return statistics.median(found) if found else None

    def added(self, peer, step, figure, base="plain"):
        """What a peer adds to the figure of the plain connection."""
        value, plain = self.median(peer, step, figure), self.median(base, step, figure)
        return None if value is None or plain is None else value - plain

    def medians(self):
        """{peer: {step: {figure: [median, least, most]}}}"""
        table = {}
        for one in self.samples:
            if "figures" not in one or one.get("superseded"):
                continue
            row = table.setdefault(one["peer"], {}).setdefault(one["step"], {})
            for figure in one["figures"]:
                values, _ = self.values(one["peer"], one["step"], figure)
                if values and isinstance(values[0], (int, float)):
                    row[figure] = [statistics.median(values), min(values), max(values)]
        return table

    def errors(self):
        return [one for one in self.samples if "error" in one and not one.get("superseded")]


def machine(about):
    return (f"{about.get('processor', '?')}, {about.get('processors', '?')} processors, "
            f"Linux {about.get('kernel', '?')}, {about.get('workers', 1)} worker or event loop each")


def divided(value, by):
    return value / by if value is not None and by else None


def short_number(value):
    """Three significant digits or a little more, for a table."""
    if value is None:
        return "-"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 0.1 or size == 0:
        return f"{value:.2f}"
    return f"{value:.4f}" if size < 0.01 else f"{value:.3f}"


def spread(results, peer, step, figure, scale=1):
    """`median (least–most)`, with a ~ where every sample was noisy."""
    values, noisy = results.values(peer, step, figure)
    if not values:
        return "-"
    return spread_of([value * scale for value in values]) + ("~" if noisy else "")


def spread_of(values):
    """`median (least–most)` of some values."""
    text = short_number(statistics.median(values))
    if len(values) > 1:
        text += f" ({short_number(min(values))}–{short_number(max(values))})"
    return text
