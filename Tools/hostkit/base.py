# SPDX-License-Identifier: Apache-2.0
"""The root file system that every host starts from: a small Debian of this machine's own release, made once and kept."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CACHE = Path(os.environ.get("NODEMESH_VM_CACHE", "/var/cache/nodemesh-vm"))
# For this machine.
PACKAGES = ["systemd-container", "mmdebstrap", "iproute2", "util-linux"]
# For the hosts: an init, what the packages of nodemesh depend on, and programs for workloads and tests.
INCLUDED = [
    "systemd", "systemd-sysv", "dbus", "iproute2", "procps", "curl", "python3", "adduser",
    "libbpf1", "libssl3", "libsqlite3-0", "zlib1g", "libstdc++6", "libelf1",
]


class HostError(Exception):
    """What went wrong, for a person."""


def quietly(*command, **options):
    """Runs a tool to its end and returns what it printed; its standard error is the reason when it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise HostError(f"{' '.join(map(str, command))}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def release():
    """The code name of this machine's Debian: programs that are built here run there."""
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    raise HostError("/etc/os-release names no Debian release")


def path():
    key = hashlib.sha256(" ".join(INCLUDED).encode()).hexdigest()[:12]
    return CACHE / f"host-{release()}-{key}"


def setup():
    """Makes sure of the tools and the root file system; quick when they are there."""
    missing = [package for package in PACKAGES if not is_installed(package)]
    if missing:
        print(f"hosts: installing {' '.join(missing)}", file=sys.stderr)
        quietly("apt-get", "update")
        quietly("apt-get", "install", "-y", "--no-install-recommends", *missing,
                env=dict(os.environ, DEBIAN_FRONTEND="noninteractive"))
    place = path()
    if place.is_dir():
        return place
    CACHE.mkdir(parents=True, exist_ok=True)
    print(f"hosts: making {place}", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        quietly("mmdebstrap", "--variant=minbase", f"--include={','.join(INCLUDED)}", release(), f"{work}/root")
        for name in ("etc/hostname", "etc/resolv.conf"):
            Path(f"{work}/root/{name}").unlink(missing_ok=True)
        try:
            os.rename(f"{work}/root", place)
        except OSError:
            # Somebody else was quicker.
            if not place.is_dir():
                raise
            shutil.rmtree(f"{work}/root")
    return place


def is_installed(package):
    asked = subprocess.run(["dpkg-query", "-W", "-f", "${Status}", package], capture_output=True, text=True)
    return "install ok installed" in asked.stdout
