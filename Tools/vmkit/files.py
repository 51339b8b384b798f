# SPDX-License-Identifier: Apache-2.0
"""Programs of this machine and what they need, as files for another."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from .base import VMError

# From this size on a program goes without what only a debugger needs.
LARGE = 4 << 20


def content(path):
    """A file's bytes; a large program without its symbols."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:4] != b"\x7fELF" or len(data) < LARGE or not shutil.which("strip"):
        return data
    with tempfile.NamedTemporaryFile() as stripped:
        if subprocess.run(["strip", "-o", stripped.name, path], capture_output=True).returncode == 0:
            return Path(stripped.name).read_bytes()
    return data


def is_elf(path):
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def libraries(*paths):
    """The shared libraries of programs, the loader included."""
    paths = [str(path) for path in paths if is_elf(path)]
    if not paths:
        return []
    listed = subprocess.run(["ldd", *paths], capture_output=True, text=True).stdout
    if "not found" in listed:
        raise VMError(f"{paths}: {[line.strip() for line in listed.splitlines() if 'not found' in line]}")
    return sorted(set(re.findall(r"(/\S+\.so\S*)", listed.replace(":\n", "\n"))) - set(paths))
