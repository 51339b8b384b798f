# SPDX-License-Identifier: Apache-2.0
"""The kernels there are, where they come from, and their modules."""

import glob
import lzma
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .base import CACHE, VMError, locked, quietly

# Debian's cloud kernels, by series: the oldest first, which is the one that everything must run under. A series more is a
# line more; apt has to know a package linux-image-SERIES.*-cloud-amd64 (6.12: Debian 13, or the backports of 12).
SERIES = [
    "6.1",
]
PACKAGES = ["qemu-system-x86", "busybox-static", "binutils", "e2fsprogs"]


@dataclass(frozen=True)
class Kernel:
    # The unpacked package.
    tree: Path

    @property
    def image(self):
        return next((self.tree / "boot").glob("vmlinuz-*"))

    @property
    def release(self):
        return self.image.name.removeprefix("vmlinuz-")

    def modules(self, names):
        """The module files behind these names, each after those it needs."""
        files = {}
        for path in glob.glob(f"{self.tree}/lib/modules/*/kernel/**/*.ko*", recursive=True):
            files[os.path.basename(path).split(".ko")[0].replace("-", "_")] = path
        listed = "".join(Path(one).read_text() for one in glob.glob(f"{self.tree}/lib/modules/*/modules.builtin"))
        builtin = {os.path.basename(line).split(".ko")[0].replace("-", "_") for line in listed.splitlines()}
        ordered = []

        def add(name):
            name = name.replace("-", "_")
            if name in builtin:
                return
            path = files.get(name)
            if path is None:
                raise VMError(f"kernel {self.release} has no module {name}")
            if path in ordered:
                return
            needs = re.search(rb"\0depends=([^\0]*)\0", b"\0" + read_module(path))
            for need in needs.group(1).decode().split(",") if needs else []:
                if need:
                    add(need)
            ordered.append(path)

        for name in names:
            add(name)
        return ordered


def read_module(path):
    with lzma.open(path) if path.endswith(".xz") else open(path, "rb") as file:
        return file.read()


def version_key(name):
    return [int(part) for part in re.findall(r"\d+", str(name))]


def unpacked(series):
    """The newest unpacked kernel of a series, or None."""
    found = sorted(CACHE.glob(f"*/boot/vmlinuz-{series}.*"), key=version_key)
    return Kernel(found[-1].parents[1]) if found else None


def setup(series):
    """Makes sure of QEMU, its helpers and a kernel; quick when all is there."""
    missing = [package for package in PACKAGES if not is_installed(package)]
    if missing:
        if os.geteuid() != 0:
            raise VMError(f"these packages are missing; as root: apt-get install {' '.join(missing)}")
        quietly("apt-get", "update")
        quietly("apt-get", "install", "-y", "--no-install-recommends", *missing,
                env=dict(os.environ, DEBIAN_FRONTEND="noninteractive"))
    found = unpacked(series)
    if found is None:
        with locked("lock"):
            if unpacked(series) is None:
                fetch(series)
        found = unpacked(series)
    return found


def is_installed(package):
    asked = subprocess.run(["dpkg-query", "-W", "-f", "${Status}", package], capture_output=True, text=True)
    return "install ok installed" in asked.stdout


def fetch(series):
    pattern = re.compile(rf"linux-image-{re.escape(series)}\.[0-9][0-9a-z.+-]*-cloud-amd64")

    def known():
        names = quietly("apt-cache", "pkgnames", f"linux-image-{series}.").split()
        return sorted((name for name in names if pattern.fullmatch(name)), key=version_key)

    names = known()
    if not names:
        quietly("apt-get", "update")
        names = known()
    if not names:
        raise VMError(f"apt knows no package linux-image-{series}.*-cloud-amd64; which series it knows: apt-cache pkgnames "
                      "linux-image- | grep cloud-amd64")
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        # apt fetches as a user of its own, which has to be able to write there.
        os.chmod(work, 0o777)
        quietly("apt-get", "download", names[-1], cwd=work)
        quietly("dpkg-deb", "-x", next(Path(work).glob("*.deb")), f"{work}/tree")
        os.chmod(f"{work}/tree", 0o755)
        os.rename(f"{work}/tree", CACHE / names[-1])
