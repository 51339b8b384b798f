# SPDX-License-Identifier: Apache-2.0
"""Whether KVM works here.

That /dev/kvm is there says little: a machine inside a machine may offer it, start a guest and never get anywhere. So one
small machine is started, and what came of it is remembered for as long as kernel, processor and QEMU are the same.
"""

import json
import os
import platform
import tempfile
from pathlib import Path

from . import initramfs
from .base import CACHE, locked, quietly
from .machine import Machine

# A machine with KVM is up within a second; this one with a slow disk and busy neighbours.
TRIAL_SECONDS = 15


def choose(wanted, kernel):
    """`kvm` or `tcg`: what was asked for, or what works."""
    if wanted != "auto":
        return wanted
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    remembered, key = CACHE / "accelerator.json", identity()
    with locked("accelerator.lock"):
        try:
            known = json.loads(remembered.read_text())
        except (OSError, ValueError):
            known = {}
        if known.get("machine") == key and known.get("accelerator") in ("kvm", "tcg"):
            return known["accelerator"]
        found = "kvm" if works(kernel) else "tcg"
        remembered.write_text(json.dumps({"machine": key, "accelerator": found}) + "\n")
        return found


def identity():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{platform.release()}, {model}, {quietly('qemu-system-x86_64', '--version').splitlines()[0]}"


def works(kernel):
    with tempfile.TemporaryDirectory() as work, open(os.devnull, "wb") as nowhere:
        first = f"{work}/initramfs"
        initramfs.build(first, kernel, modules=[], command=["true"], environment="", mtu=65536)
        with Machine(kernel, first, accelerator="kvm", cpus=2, memory=256, cpu="max") as machine:
            return machine.run(TRIAL_SECONDS, output=nowhere.fileno()) == 0
