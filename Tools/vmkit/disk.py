# SPDX-License-Identifier: Apache-2.0
"""A read-only disk with the project in it: what is built, its tests, and the programs that they use, all at the places
that they have on this machine."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from . import files
from .base import REPOSITORY, VMError, locked, quietly

# Programs, as the tests and Tools/lab call them.
PROGRAMS = (
    "sh bash ip ss tc tcpdump curl openssl python3 sha256sum cat head tail sleep env timeout mount umount mkdir rm ls "
    "ps kill nproc dmesg nginx redis-server redis-benchmark iperf3 promtool strace bpftool"
).split()
# Those that a machine may lack: the tests that need them are not for this place, or say so.
OPTIONAL = set("nginx redis-server redis-benchmark iperf3 promtool strace bpftool tc".split())
# Beside programs and libraries.
FILES = ["/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/services", "/etc/protocols", "/etc/ssl/openssl.cnf",
         "/etc/alternatives"]
# Python's library, without what no script of ours imports.
LIBRARY_WITHOUT = {"test", "idlelib", "tkinter", "lib2to3", "turtledemo", "ensurepip", "pydoc_data", "distutils"}
PYTHON_PACKAGES = ["yaml", "_yaml"]
# Of the project, at the same place.
BUILT = ["nodemeshd", "nodemesh-control", "nodemeshctl", "nodemeshPackageTests.xctest"]
PROJECT = ["Tools/lab", "Tools/labkit", "Tools/disrupt", "Tools/disruptkit", "Tests/IntegrationTests/Resources",
           "bpf/programs", "examples"]

SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class _Tree:
    """The disk's files, collected by where they will be."""

    def __init__(self):
        # Place on the disk: a file here, or the target of a link.
        self.sources = {}
        self.links = {}

    def add(self, path):
        """A file, a link with what it leads to, or a directory with everything below it."""
        path = self.through_links(Path(path))
        if path in self.sources or not path.exists():
            return
        if path.is_dir():
            for below in sorted(path.iterdir()):
                self.add(below)
        else:
            self.sources[path] = path

    def through_links(self, path):
        """Where a path leads; every link on the way becomes one of the disk's."""
        for _ in range(40):
            for part in [*reversed(path.parents), path]:
                if part.is_symlink():
                    target = os.readlink(part)
                    self.links[part] = target
                    path = Path(os.path.normpath(part.parent / target)) / path.relative_to(part)
                    break
            else:
                return path
        raise VMError(f"{path}: too many links")

    def add_library(self, path):
        for below in sorted(path.iterdir()):
            if below.name in LIBRARY_WITHOUT or below.name.startswith("config-"):
                continue
            self.add(below)

    def add_dependencies(self):
        programs = [path for path in self.sources if os.access(path, os.X_OK) or ".so" in path.name]
        for library in files.libraries(*programs):
            self.add(library)

    def stamp(self):
        """Changes with whatever would change the disk."""
        digest = hashlib.sha256(Path(__file__).read_bytes())
        for path in sorted(self.sources):
            status = path.stat()
            digest.update(f"{path} {status.st_size} {status.st_mtime_ns} {status.st_mode}\n".encode())
        for path in sorted(self.links):
            digest.update(f"{path} -> {self.links[path]}\n".encode())
        return digest.hexdigest()[:16]

    def write(self, root):
        for path, target in self.links.items():
            place = root / path.relative_to("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.is_symlink():
                place.symlink_to(target)
        for path in self.sources:
            place = root / path.relative_to("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            # Modification times stay: Python takes its compiled files only then.
            shutil.copy2(path, place)
            if path.stat().st_size >= files.LARGE and files.is_elf(path):
                subprocess.run(["strip", str(place)], capture_output=True)
        for name in ["dev", "proc", "sys", "tmp", "run", "root", "var/tmp", "var/lib", "var/log", "etc"]:
            (root / name).mkdir(parents=True, exist_ok=True)
        (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
        (root / "etc/resolv.conf").write_text("")


def collect():
    tree = _Tree()
    missing = []
    for name in PROGRAMS:
        path = shutil.which(name, path=SYSTEM_PATH)
        if path:
            tree.add(path)
        elif name not in OPTIONAL:
            missing.append(name)
    if missing:
        raise VMError(f"these programs are missing here: {' '.join(missing)}; run: Tools/setup")
    for path in FILES:
        tree.add(path)
    python = quietly(shutil.which("python3", path=SYSTEM_PATH), "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))")
    tree.add_library(Path(python.strip()))
    for name in PYTHON_PACKAGES:
        for directory in Path("/usr/lib/python3/dist-packages").glob(f"{name}*"):
            tree.add(directory)
    for name in BUILT:
        path = REPOSITORY / ".build/debug" / name
        if not path.exists():
            raise VMError(f"{path} is not built; run: swift build --build-tests")
        tree.add(path)
    for name in PROJECT:
        tree.add(REPOSITORY / name)
    tree.add_dependencies()
    return tree


def prepare():
    """The disk's image, made anew when something in it has changed."""
    tree = collect()
    directory = REPOSITORY / ".build" / "vm"
    image = directory / f"disk-{tree.stamp()}.img"
    with locked("disk.lock"):
        if image.exists():
            return image
        directory.mkdir(parents=True, exist_ok=True)
        for old in directory.glob("disk-*"):
            old.unlink()
        with tempfile.TemporaryDirectory(dir=directory) as work:
            root = Path(work) / "root"
            root.mkdir()
            tree.write(root)
            size = sum(path.lstat().st_size + 4096 for path in root.rglob("*"))
            unfinished = Path(work) / "image"
            quietly("/sbin/mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-N", str(2 * count(root)),
                    "-d", root, unfinished, f"{size * 11 // 10 // 1024 + 32768}k")
            unfinished.rename(image)
    print(f"vm: made {image} of {size >> 20} MiB", file=sys.stderr, flush=True)
    return image


def count(root):
    return sum(1 for _ in root.rglob("*")) + 64
