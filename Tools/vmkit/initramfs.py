# SPDX-License-Identifier: Apache-2.0
"""The first file system: busybox, modules, the files somebody named, and the program that starts it all."""

import os
import shlex
import shutil
import stat
from pathlib import Path

from . import files, kernels
from .base import VMError, quietly

# The first process. Where there is a disk, the machine's root becomes that, with a layer of memory over it.
FIRST = """#!/vm/bin/sh
export PATH=/vm/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
while read -r module; do insmod "$module" || echo "<1>vm: cannot load $module" >/dev/kmsg; done </vm/modules
if [ -b /dev/vda ]; then
    mkdir -p /vm/disk /vm/memory /vm/root
    mount -t ext4 -o ro /dev/vda /vm/disk
    mount -t tmpfs -o size=75% memory /vm/memory
    mkdir /vm/memory/upper /vm/memory/work
    mount -t overlay -o lowerdir=/vm/disk,upperdir=/vm/memory/upper,workdir=/vm/memory/work root /vm/root
    mkdir -p /vm/root/vm /vm/root/dev /vm/root/proc
    for name in bin init command environment mtu; do cp -a "/vm/$name" /vm/root/vm/; done
    mount --move /dev /vm/root/dev
    mount --move /proc /vm/root/proc
    exec switch_root /vm/root /vm/init
fi
exec /vm/init
"""

# What every machine does. The kernel's own console is the second serial port, so that the first holds the command's
# output and nothing else; the exit status goes the way of the kernel's messages.
INIT = """#!/vm/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/vm/bin HOME=/root
[ -d /proc/1 ] || mount -t proc proc /proc
mkdir -p /sys /tmp /run /root /var/tmp
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mkdir -p /dev/pts /dev/shm /run/netns
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t debugfs debug /sys/kernel/debug
ln -sf /proc/self/fd /dev/fd
ip link set lo mtu "$(cat /vm/mtu)"
ip link set lo up
ulimit -n 65536
. /vm/environment
echo "<1>vm: begin" >/dev/kmsg
exec </dev/ttyS0 >/dev/ttyS0 2>&1
if [ -n "$VM_TERMINAL" ]; then
    stty sane
    eval "stty $VM_TERMINAL"
    setsid -c /bin/sh /vm/command
else
    stty raw -echo
    /bin/sh /vm/command </dev/null
fi
status=$?
# What was written has to be on its way out before the machine ends.
stty -F /dev/ttyS0 >/dev/null
echo "<1>vm: status $status" >/dev/kmsg
reboot -f
"""


class Archive:
    """A cpio archive in the form "newc", as the kernel takes it for its first file system."""

    def __init__(self, out):
        self.out = out
        self.known = set()
        self.number = 0

    def entry(self, path, mode, data=b""):
        path = path.strip("/")
        if path in self.known:
            return
        self.known.add(path)
        self.number += 1
        name = path.encode() + b"\0"
        fields = (self.number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        self.out.write(b"070701" + b"".join(b"%08x" % field for field in fields) + name)
        self.pad(6 + 8 * len(fields) + len(name))
        self.out.write(data)
        self.pad(len(data))

    def pad(self, count):
        self.out.write(b"\0" * (-count % 4))

    def directory(self, path):
        parts = path.strip("/").split("/")
        for count in range(1, len(parts) + 1):
            self.entry("/".join(parts[:count]), stat.S_IFDIR | 0o755)

    def file(self, path, data, mode=0o755):
        self.directory(os.path.dirname(path))
        self.entry(path, stat.S_IFREG | mode, data)

    def link(self, path, target):
        self.directory(os.path.dirname(path))
        self.entry(path, stat.S_IFLNK | 0o777, target.encode())

    def end(self):
        self.entry("TRAILER!!!", 0)


def build(path, kernel, *, modules, command, environment, mtu, named=()):
    """Writes the first file system.

    command: words; environment: lines for the shell; named: SOURCE[:PLACE], each a file to have in there.
    """
    with open(path, "wb") as out:
        archive = Archive(out)
        for directory in ["dev", "proc", "sys", "tmp", "run", "root", "etc", "bin", "var/tmp"]:
            archive.directory(directory)
        archive.entry("dev/console", stat.S_IFCHR | 0o600)
        add_busybox(archive)
        archive.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n", 0o644)
        archive.file("vm/mtu", b"%d\n" % mtu, 0o644)
        archive.file("vm/environment", environment.encode(), 0o644)
        archive.file("vm/command", (" ".join(shlex.quote(word) for word in command) + "\n").encode())
        names = []
        for module in kernel.modules(modules):
            name = f"/lib/modules/{os.path.basename(module).removesuffix('.xz')}"
            archive.file(name, kernels.read_module(module), 0o644)
            names.append(name)
        archive.file("vm/modules", "".join(f"{name}\n" for name in names).encode(), 0o644)
        add_named(archive, named)
        archive.file("vm/init", INIT.encode())
        archive.file("init", FIRST.encode())
        archive.end()


def add_busybox(archive):
    busybox = shutil.which("busybox")
    if not busybox:
        raise VMError("no busybox; run: Tools/vm setup")
    archive.file("vm/bin/busybox", files.content(busybox))
    for applet in quietly(busybox, "--list").split():
        if applet != "busybox":
            archive.link(f"vm/bin/{applet}", "/vm/bin/busybox")
    archive.link("bin/sh", "/vm/bin/busybox")


def add_named(archive, named):
    needed = set()
    for pair in named:
        source, _, place = pair.partition(":")
        if not os.path.isfile(source):
            raise VMError(f"{source}: no such file")
        executable = os.access(source, os.X_OK)
        archive.file(place or source, files.content(source), 0o755 if executable else 0o644)
        needed.update(files.libraries(source))
    for library in sorted(needed):
        archive.file(library, Path(library).read_bytes())
