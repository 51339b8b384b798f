# SPDX-License-Identifier: Apache-2.0
"""Where things are, and how things fail."""

import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


class PackageError(Exception):
    """What went wrong, for a person."""


def output(*command, **options):
    """Runs a tool to its end and returns what it printed; its standard error is the reason when it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise PackageError(f"{' '.join(map(str, command))}: {done.stderr.strip()[-2000:]}")
    return done.stdout
