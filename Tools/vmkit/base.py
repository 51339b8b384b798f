# SPDX-License-Identifier: Apache-2.0
"""Where things are kept, and how things fail."""

import contextlib
import fcntl
import os
import subprocess
from pathlib import Path

CACHE = Path(os.environ.get("NODEMESH_VM_CACHE", "/var/cache/nodemesh-vm"))
REPOSITORY = Path(__file__).resolve().parents[2]


class VMError(Exception):
    """What went wrong, for a person."""


def quietly(*command, **options):
    """Runs a tool to its end and returns what it printed; its standard error is the reason when it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise VMError(f"{' '.join(map(str, command))}: {done.stderr.strip()[-2000:]}")
    return done.stdout


@contextlib.contextmanager
def locked(name):
    """One at a time: the second that wants the same thing finds what the first has made."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / name, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
