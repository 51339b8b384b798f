# SPDX-License-Identifier: Apache-2.0
"""QEMU: starting a machine, passing its terminal on, and listening to what its kernel says."""

import os
import re
import select
import subprocess
import sys
import tempfile
import termios
import threading
import time
import tty
from pathlib import Path

# What a kernel says when something is wrong with it, whatever a program's exit status is.
TROUBLE = re.compile(
    r"cut here|WARNING:|BUG:|BUG |Oops|Kernel panic|general protection fault|unhandled|Unable to handle|"
    r"rcu.*(stall|starved)|soft lockup|hard LOCKUP|blocked for more than|refcount_t:|UBSAN|KASAN|KFENCE|"
    r"list_(add|del) corruption|unregister_netdevice: waiting|Out of memory|invoked oom-killer"
)
# What it says about the machine it finds itself in.
HARMLESS = re.compile(r"Spectre|MDS|TAA|MMIO Stale|RETBleed|x86/|unsupported|ITS:|TSA:|Unknown kernel command line")
BEGIN = re.compile(r"vm: begin")
STATUS = re.compile(r"vm: status (\d+)")
LINES_SHOWN = 60


class Machine:
    """One run. `kernel` is a kernels.Kernel, `initramfs` and `disk` are files."""

    def __init__(self, kernel, initramfs, *, accelerator, cpus, memory, cpu, append="", disk=None, icount=False):
        self.work = tempfile.TemporaryDirectory()
        self.console = Path(self.work.name) / "console"
        self.console.touch()
        accelerators = {"kvm": "kvm", "tcg": "tcg" if icount else "tcg,thread=multi"}
        self.command = [
            "qemu-system-x86_64", "-accel", accelerators[accelerator], "-cpu", cpu, "-smp", str(cpus),
            "-m", str(memory), "-kernel", str(kernel.image), "-initrd", str(initramfs),
            "-append", f"console=ttyS1 loglevel=6 panic=-1 rdinit=/init no_timer_check {append}",
            "-nodefaults", "-vga", "none", "-display", "none", "-monitor", "none", "-no-reboot",
            "-chardev", "stdio,id=terminal,signal=off", "-serial", "chardev:terminal",
            "-serial", f"file:{self.console}",
        ]  # fmt: skip
        if icount:
            self.command += ["-icount", "shift=0"]
        if disk:
            self.command += ["-drive", f"file={disk},format=raw,if=virtio,readonly=on,cache=unsafe"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.work.cleanup()

    def run(self, timeout, *, terminal=False, output=None):
        """Runs it to its end.

        Returns the command's exit status, or None when the machine did not come to an end in time, or crashed.
        `terminal`: standard input is the machine's keyboard. `output`: where its terminal goes, standard output if None.
        """
        machine = subprocess.Popen(
            self.command, stdin=subprocess.PIPE if terminal else subprocess.DEVNULL, stdout=subprocess.PIPE)
        timer = threading.Timer(timeout, machine.kill) if timeout else None
        if timer:
            timer.start()
        out = sys.stdout.fileno() if output is None else output
        try:
            is_typing = not terminal
            with _Keyboard(terminal):
                while data := os.read(machine.stdout.fileno(), 65536):
                    write_all(out, data)
                    if not is_typing:
                        # What is typed before somebody reads is lost; a shell says something first.
                        is_typing = True
                        threading.Thread(target=self.type, args=(machine,), daemon=True).start()
            machine.wait()
        finally:
            if timer:
                timer.cancel()
            if machine.poll() is None:
                machine.kill()
                machine.wait()
        found = STATUS.findall(self.said())
        return int(found[-1]) if found else None

    @staticmethod
    def type(machine):
        """Passes standard input on, and its end as the end of input."""
        while machine.poll() is None:
            if not select.select([0], [], [], 0.5)[0]:
                continue
            data = os.read(0, 4096)
            try:
                # One key at a time: a serial port has sixteen bytes of patience.
                for key in data or b"\x04":
                    machine.stdin.write(bytes([key]))
                    machine.stdin.flush()
                    if len(data) > 16:
                        time.sleep(0.001)
            except BrokenPipeError:
                return
            if not data:
                return

    def said(self):
        """Everything that the kernel said."""
        return self.console.read_text(errors="replace").replace("\r\n", "\n")

    def began(self):
        """Whether it came as far as the command."""
        return bool(BEGIN.search(self.said()))

    def trouble(self):
        """What the kernel complained about, with what it said next; empty when it did not.

        Not what it said before the command: how a kernel likes the time that an emulator keeps is not the matter here.
        """
        lines = self.said().splitlines()
        start = next((number for number, line in enumerate(lines) if BEGIN.search(line)), len(lines))
        for number, line in list(enumerate(lines))[start:]:
            if TROUBLE.search(line) and not HARMLESS.search(line):
                return "\n".join(lines[max(0, number - 2):number + LINES_SHOWN])
        return ""

    def last_words(self):
        return "\n".join(self.said().splitlines()[-20:])


class _Keyboard:
    """A terminal whose keys, interrupt included, go to the machine."""

    def __init__(self, wanted):
        self.wanted = wanted and os.isatty(0)
        self.before = None

    def __enter__(self):
        if self.wanted:
            self.before = termios.tcgetattr(0)
            tty.setraw(0)

    def __exit__(self, *_):
        if self.before:
            termios.tcsetattr(0, termios.TCSADRAIN, self.before)


def write_all(descriptor, data):
    while data:
        data = data[os.write(descriptor, data):]
