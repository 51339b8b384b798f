# SPDX-License-Identifier: Apache-2.0
"""A service manager for one daemon of a lab, with what nodemeshd uses of systemd 252: readiness, status and watchdog by
NOTIFY_SOCKET, the descriptor store, Restart=always, a cgroup that is another one after each start.

Runs as a process of its own (`python3 manager.py FILE`, a JSON of `Unit`) and obeys words on a socket; `Client` says
them.
"""

import array
import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import struct
import sys
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.dont_write_bytecode = True
if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from labkit import kernel  # noqa: E402
from labkit.kernel import LabError  # noqa: E402

SYS_KCMP, KCMP_FILE = 312, 0
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Unit:
    name: str
    command: list[str]
    network: str
    cgroup: str
    log: str
    # Where it obeys.
    control: str
    environment: dict[str, str] = field(default_factory=dict)
    # Seconds; 0: none.
    watchdog: float = 30
    stop_timeout: float = 30
    restart_delay: float = 0.1
    # FileDescriptorStoreMax=
    store_max: int = 4096


def same_file(one, other):
    """Whether two descriptors of this process are the same open file."""
    pid = os.getpid()
    result = _libc.syscall(SYS_KCMP, pid, pid, KCMP_FILE, one, other)
    if result >= 0:
        return result == 0
    # Not allowed or not built in.
    first, second = os.fstat(one), os.fstat(other)
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


class Manager:
    def __init__(self, unit):
        self.unit = unit
        self.state = "dead"
        self.main = None
        self.pidfd = None
        self.child = False
        self.ready_at = None
        self.status = ""
        self.restarts = 0
        self.watchdog_failures = 0
        self.beat = None
        self.wanted = False
        self.deadline = None
        self.restart_at = None
        self.waiters = []
        # Name, descriptor, and whether its end removes it.
        self.store = []
        self.poll = select.poll()
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.notify.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        # Not in the abstract name space: that is the network namespace's, and the daemon has one of its own.
        self.notify_name = str(Path(unit.control).with_name("notify.sock"))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.notify_name)
        self.notify.bind(self.notify_name)
        self.control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unit.control)
        self.control.bind(unit.control)
        os.chmod(unit.control, 0o600)
        self.control.listen(16)
        self.poll.register(self.notify, select.POLLIN)
        self.poll.register(self.control, select.POLLIN)

    def say(self, text):
        with open(self.unit.log, "a") as log:
            log.write(f"[manager] {text}\n")

    # Start and end

    def start(self):
        """Forks: the child's id has to stand in its own environment."""
        if self.main is not None:
            return
        cgroup = Path(self.unit.cgroup)
        # systemd removes the cgroup of a unit that has ended, so the next one's is another.
        with contextlib.suppress(OSError):
            cgroup.rmdir()
        cgroup.mkdir(exist_ok=True)
        # The last stored come first, as systemd has it.
        passed = [(name, descriptor) for name, descriptor, _ in reversed(self.store)]
        environment = {**os.environ, **self.unit.environment, "NOTIFY_SOCKET": self.notify_name}
        for key in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID"):
            environment.pop(key, None)
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                if passed:
                    environment["LISTEN_PID"] = str(os.getpid())
                    environment["LISTEN_FDS"] = str(len(passed))
                    environment["LISTEN_FDNAMES"] = ":".join(name for name, _ in passed)
                if self.unit.watchdog:
                    environment["WATCHDOG_USEC"] = str(int(self.unit.watchdog * 1e6))
                    environment["WATCHDOG_PID"] = str(os.getpid())
                output = os.open(self.unit.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
                null = os.open("/dev/null", os.O_RDONLY)
                kernel.enter(self.unit.network, cgroup)
                # Out of the way first: what is passed begins at 3.
                high = [self.duplicate(descriptor, 1000 + len(passed)) for _, descriptor in passed]
                os.dup2(self.duplicate(null, 1000), 0)
                second = self.duplicate(output, 1000)
                os.dup2(second, 1)
                os.dup2(second, 2)
                for index, descriptor in enumerate(high):
                    os.dup2(descriptor, 3 + index, inheritable=True)
                os.closerange(3 + len(high), 65536)
                os.chdir("/")
                signal.pthread_sigmask(signal.SIG_SETMASK, [])
                for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, signal.SIG_DFL)
                os.execve(self.unit.command[0], self.unit.command, environment)
            except BaseException:
                with contextlib.suppress(BaseException):
                    os.write(2, traceback.format_exc().encode())
                os._exit(127)
        self.say(f"started process {pid} with {len(passed)} stored descriptors")
        self.watch_main(pid, child=True)
        self.state, self.ready_at, self.restart_at = "activating", None, None
        self.beat = None

    @staticmethod
    def duplicate(descriptor, least):
        import fcntl
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD, least)

    def watch_main(self, pid, child):
        if self.pidfd is not None:
            self.poll.unregister(self.pidfd)
            os.close(self.pidfd)
        self.main, self.child = pid, child
        self.pidfd = os.pidfd_open(pid)
        self.poll.register(self.pidfd, select.POLLIN)

    def has_ended(self):
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def ended(self):
        pid, how = self.main, "gone"
        # What it said before it ended counts, that another process takes its place above all.
        self.receive_all()
        if self.main != pid:
            self.say(f"process {pid} ended; {self.main} goes on")
            return
        self.poll.unregister(self.pidfd)
        os.close(self.pidfd)
        self.main = self.pidfd = None
        if self.child:
            _, status = os.waitpid(pid, 0)
            how = f"exit status {os.waitstatus_to_exitcode(status)}"
        # KillMode=mixed
        kernel.end_processes(Path(self.unit.cgroup))
        self.deadline = self.beat = None
        if self.wanted:
            self.restarts += 1
            self.state, self.restart_at = "auto-restart", time.monotonic() + self.unit.restart_delay
            self.say(f"process {pid} ended ({how}); {len(self.store)} descriptors stored; starts again")
        else:
            self.state = "dead"
            self.say(f"process {pid} ended ({how}); {len(self.store)} stored descriptors are closed")
            while self.store:
                self.drop(0)

    def stop(self, again):
        self.wanted = again
        if self.main is None:
            self.restart_at = time.monotonic() if again else None
            if not again:
                self.state = "dead"
            return
        self.state = "deactivating"
        self.deadline = time.monotonic() + self.unit.stop_timeout
        os.kill(self.main, signal.SIGTERM)

    # Messages

    def receive_all(self):
        while True:
            try:
                data, ancillary, flags, _ = self.notify.recvmsg(
                    65536, socket.CMSG_SPACE(253 * 4) + socket.CMSG_SPACE(12), socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            descriptors, sender = array.array("i"), None
            for level, kind, value in ancillary:
                if level != socket.SOL_SOCKET:
                    continue
                if kind == socket.SCM_RIGHTS:
                    descriptors.frombytes(value[:len(value) - len(value) % 4])
                elif kind == socket.SCM_CREDENTIALS:
                    sender = struct.unpack("iII", value)[0]
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
            left = self.take(data.decode(errors="replace").split("\n"), list(descriptors), sender)
            for descriptor in left:
                os.close(descriptor)

    def take(self, lines, descriptors, sender):
        """Acts upon a message; the descriptors that nobody keeps."""
        values = dict(line.partition("=")[::2] for line in lines if "=" in line)
        # NotifyAccess=main
        if sender != self.main and not (self.main is None and "FDSTORE" in values):
            self.say(f"a message of process {sender} is not heard: {lines}")
            return descriptors
        if values.get("WATCHDOG") == "1":
            self.beat = time.monotonic()
        if "STATUS" in values:
            self.status = values["STATUS"]
        if "MAINPID" in values and int(values["MAINPID"]) != self.main:
            self.say(f"process {values['MAINPID']} takes the place of {self.main}")
            old, was_child = self.main, self.child
            self.watch_main(int(values["MAINPID"]), child=False)
            self.beat = None
            if was_child:
                self.waiters.append(old)
        if values.get("RELOADING") == "1":
            self.state = "reloading"
        if values.get("READY") == "1":
            self.state, self.ready_at = "active", time.monotonic()
            self.beat = self.beat or time.monotonic()
        if values.get("STOPPING") == "1" and self.state != "deactivating":
            self.state = "stopping"
        name = values.get("FDNAME", "stored")
        if values.get("FDSTOREREMOVE") == "1":
            for index in reversed(range(len(self.store))):
                if self.store[index][0] == name:
                    self.drop(index)
        elif values.get("FDSTORE") == "1":
            left = []
            for descriptor in descriptors:
                full = len(self.store) >= self.unit.store_max
                if full or any(same_file(descriptor, known) for _, known, _ in self.store):
                    left.append(descriptor)
                    continue
                polls = values.get("FDPOLL") != "0"
                self.store.append((name, descriptor, polls))
                if polls:
                    with contextlib.suppress(PermissionError):
                        self.poll.register(descriptor, 0)
            return left
        return descriptors

    def drop(self, index):
        _, descriptor, polls = self.store.pop(index)
        if polls:
            with contextlib.suppress(KeyError):
                self.poll.unregister(descriptor)
        os.close(descriptor)

    # Words

    def obey(self, connection):
        connection.settimeout(5)
        try:
            request = json.loads(connection.makefile().readline())
            answer = self.answer(request)
        except (OSError, ValueError, KeyError) as error:
            answer = {"error": f"{error}"}
        with contextlib.suppress(OSError):
            connection.sendall(json.dumps(answer).encode() + b"\n")
        connection.close()

    def answer(self, request):
        word = request["word"]
        if word == "start":
            self.wanted = True
            self.start()
        elif word == "stop":
            self.stop(again=False)
        elif word == "restart":
            self.ready_at = None
            self.stop(again=True)
        elif word == "kill":
            if self.main is None:
                return {"error": "it does not run"}
            self.ready_at = None
            os.kill(self.main, request["signal"])
        elif word == "command":
            self.unit.command = request["command"]
        elif word != "status":
            return {"error": f"{word}: unknown"}
        return {
            "state": self.state, "main": self.main, "ready": self.ready_at is not None, "status": self.status,
            "restarts": self.restarts, "watchdogFailures": self.watchdog_failures,
            "stored": [name for name, _, _ in self.store], "command": self.unit.command,
        }

    # Time

    def next_time(self):
        times = [time for time in (self.deadline, self.restart_at, self.watchdog_time()) if time]
        return max(0, (min(times) - time.monotonic()) * 1000) if times else None

    def watchdog_time(self):
        return self.beat + self.unit.watchdog if self.beat and self.unit.watchdog and self.main else None

    def look(self):
        now = time.monotonic()
        if self.deadline and now >= self.deadline and self.main:
            self.say(f"process {self.main} did not end in time and is killed")
            self.deadline = None
            os.kill(self.main, signal.SIGKILL)
        watchdog = self.watchdog_time()
        if watchdog and now >= watchdog:
            self.watchdog_failures += 1
            self.say(f"process {self.main} has not said that all is well within {self.unit.watchdog} s and is killed")
            self.beat = self.ready_at = None
            # systemd sends SIGABRT, and SIGKILL later; a stopped process hears only the latter.
            os.kill(self.main, signal.SIGKILL)
        if self.restart_at and now >= self.restart_at and self.main is None:
            self.start()

    def run(self):
        while True:
            for descriptor, events in self.poll.poll(self.next_time()):
                if descriptor == self.control.fileno():
                    self.obey(self.control.accept()[0])
                elif descriptor == self.notify.fileno():
                    self.receive_all()
                elif descriptor == self.pidfd:
                    # The event may be of a process in whose place another one has come since, under the same number.
                    if self.has_ended():
                        self.ended()
                elif events & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
                    for index in reversed(range(len(self.store))):
                        if self.store[index][1] == descriptor:
                            self.drop(index)
            for pid in list(self.waiters):
                with contextlib.suppress(ChildProcessError):
                    if os.waitpid(pid, os.WNOHANG)[0] == 0:
                        continue
                self.waiters.remove(pid)
            self.look()


class Client:
    """Says words to a manager."""

    def __init__(self, control):
        self.path = str(control)

    def ask(self, word, **more):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10 * kernel.PATIENCE)
            connection.connect(self.path)
            connection.sendall(json.dumps({"word": word, **more}).encode() + b"\n")
            answer = json.loads(connection.makefile().readline())
        if "error" in answer:
            raise LabError(f"the service manager: {answer['error']}")
        return answer

    @property
    def runs(self):
        try:
            self.ask("status")
            return True
        except OSError:
            return False


def launch(unit, cgroup, file):
    """Starts a manager in the background, unless it runs, and waits until it obeys."""
    client = Client(unit.control)
    if not client.runs:
        Path(file).write_text(json.dumps(asdict(unit)))
        cgroup.mkdir(exist_ok=True)
        kernel.spawn([sys.executable, __file__, str(file)], None, cgroup, unit.log)
        kernel.wait_for(f"the service manager of {unit.name} to start", lambda: client.runs, 20, unit.log)
    client.ask("command", command=unit.command)
    return client


if __name__ == "__main__":
    Manager(Unit(**json.loads(Path(sys.argv[1]).read_text()))).run()
