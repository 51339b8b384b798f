# SPDX-License-Identifier: Apache-2.0
"""A lab: what `up` makes of a topology, what `down` takes away, and the daemons in between.

Everything a lab makes carries its name: namespaces NAME-…, the cgroup nodemesh-lab/NAME, bpffs pins of the instances
NAME-NODE, and the directory /run/nodemesh-lab/NAME. So `down` finds it all by name, whatever became of `up`. The
cgroups say which processes are alive; no process id is remembered.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
from pathlib import Path

from . import kernel, manager, topology
from .kernel import LabError

RUN = Path("/run/nodemesh-lab")
REPOSITORY = Path(__file__).resolve().parents[2]
STARTUP, CONVERGENCE = 60, 60


class Lab:
    def __init__(self, name):
        self.name = name
        self.directory = RUN / name
        self.hosts = self.directory / "hosts"
        self._topology = None

    # Names and places

    @property
    def topology(self):
        if self._topology is None:
            state = self.directory / "topology.json"
            if not state.exists():
                raise LabError(f"no lab called {self.name} is up; start one with: Tools/lab up examples/two-nodes.yaml")
            self._topology = topology.Topology.from_json(json.loads(state.read_text()))
        return self._topology

    @property
    def cgroup(self):
        return kernel.cgroup2() / "nodemesh-lab" / self.name

    @property
    def hub(self):
        return f"{self.name}-hub"

    def network(self, target):
        if isinstance(target, topology.Workload):
            if target.host:
                return self.network(self.topology.node(target.node))
            return f"{self.name}-{target.namespace}-{target.name}"
        if isinstance(target, topology.Node):
            return f"{self.name}-{target.name}"
        return self.hub

    def cgroup_of(self, target):
        if isinstance(target, topology.Workload):
            return self.cgroup / f"workload-{target.namespace}-{target.name}"
        if isinstance(target, topology.Node):
            return self.cgroup / f"node-{target.name}"
        return self.cgroup / topology.CONTROL

    def log_of(self, target):
        if isinstance(target, topology.Workload):
            return self.directory / "logs" / f"{target.namespace}-{target.name}.log"
        return self.directory / "logs" / f"{target.name if isinstance(target, topology.Node) else target}.log"

    def instance(self, node):
        return f"{self.name}-{node.name}"

    def node_directory(self, node):
        return self.directory / "nodes" / node.name

    def socket_of(self, node):
        return self.node_directory(node) / "run" / "nodemeshd.sock"

    def scratch(self, workload):
        return self.directory / "scratch" / f"{workload.namespace}-{workload.name}"

    def resolv_of(self, target):
        """The resolv.conf of a workload or node, or None for the machine's."""
        if not self.topology.dns or not isinstance(target, (topology.Node, topology.Workload)):
            return None
        is_workload = isinstance(target, topology.Workload)
        node = self.topology.node(target.node) if is_workload else target
        name = f"{target.namespace}-{target.name}" if is_workload else target.name
        path = self.directory / f"{name}.resolv.conf"
        if not path.exists():
            search = f"search {target.namespace}.mesh.internal mesh.internal\n" if is_workload else ""
            servers = target.nameservers or [node.address]
            path.write_text(search + "".join(f"nameserver {one}\n" for one in servers))
        return path

    def target(self, name):
        """A node, a workload, or the control plane."""
        if name == topology.CONTROL:
            return name
        found = self.topology.node(name) or self.topology.workload(name)
        if found is None:
            names = [topology.CONTROL, *(n.name for n in self.topology.nodes), *(w.id for w in self.topology.workloads)]
            raise LabError(f"{name} is nothing of this lab, or more than one thing; there are: {', '.join(names)}")
        return found

    @staticmethod
    def binary(name):
        path = Path(os.environ.get("NODEMESH_BIN") or REPOSITORY / ".build" / "debug") / name
        if not path.exists():
            raise LabError(f"{path} is not built; run: swift build (or set NODEMESH_BIN)")
        return str(path)

    @contextlib.contextmanager
    def lock(self):
        """One `up` or `down` of a lab at a time. A name in the abstract socket space leaves no file behind."""
        with socket.socket(socket.AF_UNIX) as holder:
            kernel.wait_for(f"another up or down of lab {self.name} to end",
                            lambda: holder.bind(f"\0nodemesh-lab/{self.name}") is None, STARTUP + CONVERGENCE)
            yield

    # Up

    def up(self, wanted, say):
        """Brings up a topology, or raises and leaves to the caller to take down what there is of it."""
        for name in ("nodemeshd", "nodemesh-control", "nodemeshctl"):
            self.binary(name)
        if self.directory.exists():
            raise LabError(f"a lab called {self.name} is there already; take it down with: Tools/lab down")
        # Leftovers of a lab whose directory is gone (a reboot, a cleared /run).
        self.down()
        kernel.bpffs()
        (self.directory / "logs").mkdir(parents=True)
        self.directory.chmod(0o700)
        (self.directory / "topology.json").write_text(json.dumps(wanted.to_json()))
        self._topology = wanted
        self.make_networks()
        self.make_cgroups()
        self.hosts.write_text("127.0.0.1 localhost\n")
        say("control plane")
        self.start_control()
        if wanted.resources:
            self.apply(wanted.resources)
        for node in wanted.nodes:
            say(f"node {node.name} at {node.address}")
            self.start_node(node, joining=True)
        for workload in wanted.workloads:
            say(f"workload {workload.id} at {workload.address or workload.address6} on {workload.node}")
            self.start_workload(workload)
            if workload.enrol:
                self.enrol(workload)
        self.converge()

    def make_networks(self):
        plan = self.topology
        ipv6 = plan.ipv6
        kernel.add_network(self.hub, ipv6)
        kernel.ip(self.hub, "link add br0 type bridge", "link set br0 up",
                  f"addr add {topology.CONTROL_ADDRESS}/24 dev br0",
                  *([f"addr add {topology.CONTROL_ADDRESS6}/64 dev br0 nodad"] if ipv6 else []))
        for node in plan.nodes:
            name = self.network(node)
            kernel.add_network(name, ipv6)
            kernel.forward(name, ipv6)
            kernel.ip(self.hub, f"link add {node.name[:12]}-{node.index} type veth peer name eth0 netns {name}",
                      f"link set {node.name[:12]}-{node.index} master br0 up")
            kernel.ip(name, f"addr add {node.address}/24 dev eth0", "link set eth0 up",
                      *([f"addr add {node.address6}/64 dev eth0 nodad"] if ipv6 else []))
        for node in plan.nodes:
            # A route for each workload, so that the file may put an address on any node.
            kernel.ip(self.network(node), *(
                line
                for workload in plan.workloads if workload.node != node.name and not workload.host
                for line in self.routes(workload, via=plan.node(workload.node))
            ))
        for workload in plan.workloads:
            if not workload.host:
                self.link_workload(workload, plan.node(workload.node))

    @staticmethod
    def routes(workload, via):
        return [*([f"route add {workload.address}/32 via {via.address}"] if workload.address else []),
                *([f"route add {workload.address6}/128 via {via.address6}"] if workload.address6 else [])]

    def link_workload(self, workload, node):
        """A routed link: the workload's only neighbour is its node, which answers as 169.254.1.1 and fe80::1 on every
        such link."""
        name, port = self.network(workload), f"w{workload.index}"
        kernel.add_network(name, self.topology.ipv6)
        outside = [f"link add {port} type veth peer name eth0 netns {name}", f"link set {port} up"]
        inside = ["link set eth0 up"]
        if workload.address:
            outside += [f"addr add 169.254.1.1/32 dev {port}",
                        f"route add {workload.address}/32 dev {port} src {node.address}"]
            inside += [f"addr add {workload.address}/32 dev eth0",
                       "route add 169.254.1.1 dev eth0 scope link",
                       "route add default via 169.254.1.1 dev eth0"]
        if workload.address6:
            outside += [f"addr add fe80::1/64 dev {port} nodad",
                        f"route add {workload.address6}/128 dev {port} src {node.address6}"]
            inside += [f"addr add {workload.address6}/128 dev eth0 nodad",
                       "route add default via fe80::1 dev eth0"]
        kernel.ip(self.network(node), *outside)
        kernel.ip(name, *inside)

    def make_cgroups(self):
        for target in [topology.CONTROL, *self.topology.nodes, *self.topology.workloads]:
            self.cgroup_of(target).mkdir(parents=True)
        # Commands run in a node's namespace: not in nodemeshd's cgroup, whose programs are for its own sockets.
        (self.cgroup / "exec").mkdir()
        # For health probes, where a node's configuration names it: ${LAB_CGROUP}/probe.
        (self.cgroup / "probe").mkdir()

    # The control plane

    def write_config(self, directory, values):
        """A daemon's own file, also when it is empty: the host's in /etc is not for the lab."""
        path = directory / "config.yaml"
        # JSON is YAML too.
        places = {"${LAB_CGROUP}": self.cgroup, "${LAB_DIRECTORY}": self.directory}
        text = json.dumps(values)
        for name, place in places.items():
            text = text.replace(name, str(place))
        path.write_text(text)
        return path

    def start_control(self):
        directory = self.directory / topology.CONTROL
        directory.mkdir(exist_ok=True)
        config = self.write_config(directory, self.topology.control)
        process = self.spawn(topology.CONTROL, [
            self.binary("nodemesh-control"), "serve", "--config", str(config),
            "--data-dir", str(directory / "data"),
            "--grpc-listen", "[::]:15012" if self.topology.ipv6 else f"{topology.CONTROL_ADDRESS}:15012",
            "--api-listen", "127.0.0.1:15080", "--metrics-listen", "127.0.0.1:15014",
            "--advertise", f"{topology.CONTROL_ADDRESS}:15012",
            *([] if "meshPrefixes" in self.topology.control else self.mesh_prefixes()),
        ])

        def healthy():
            self.must_run(process, topology.CONTROL)
            connection = http.client.HTTPConnection("127.0.0.1", 15080, timeout=2 * kernel.PATIENCE)
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200

        kernel.wait_for("nodemesh-control to answer /healthz", lambda: kernel.in_network(self.hub, healthy), STARTUP,
                        self.log_of(topology.CONTROL))

    def mesh_prefixes(self):
        return ["--mesh-prefix", topology.MESH_PREFIX,
                *(["--mesh-prefix", topology.MESH_PREFIX6] if self.topology.ipv6 else [])]

    def control_environment(self, node=None):
        environment = {
            "NODEMESH_CONTROL_PLANE": "http://127.0.0.1:15080",
            "NODEMESH_TOKEN_FILE": str(self.directory / topology.CONTROL / "data" / "admin.token"),
        }
        if node:
            environment["NODEMESH_NODE_SOCKET"] = str(self.socket_of(node))
        return environment

    def ctl(self, *arguments, node=None, input=None):
        """Runs nodemeshctl as the operator would, in the control plane's namespace."""
        done = subprocess.run(
            [self.binary("nodemeshctl"), *arguments],
            input=input,
            stdin=None if input is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **self.control_environment(node)},
            preexec_fn=lambda: kernel.enter(self.hub, None),
        )
        if done.returncode != 0:
            text = (done.stderr or done.stdout).strip()
            raise LabError(f"nodemeshctl {' '.join(arguments)}: {text}", self.log_of(node or topology.CONTROL))
        return done.stdout

    def apply(self, documents):
        self.ctl("apply", "-f", "-", input=documents)

    # Nodes

    def start_node(self, node, joining=False, wait=True):
        directory = self.node_directory(node)
        for below in ("run", "data"):
            (directory / below).mkdir(parents=True, exist_ok=True)
        token = directory / "join-token"
        if joining:
            answer = json.loads(self.ctl("join-token", "create", "--node", node.name, "-o", "json"))
            token.touch(mode=0o600)
            token.write_text(answer["token"] + "\n")
            (directory / "ca-fingerprint").write_text(answer["caFingerprint"])
        self.write_config(directory, node.config)
        if node.supervised:
            self.supervise(node).ask("start")
            running = None
        else:
            running = self.spawn(node, self.node_command(node))
        if wait:
            self.wait_ready(node, running)

    def node_command(self, node, binary=None):
        directory = self.node_directory(node)
        return [
            binary or self.binary("nodemeshd"), "serve", "--config", str(directory / "config.yaml"),
            "--node", node.name,
            "--control-plane", node.control_plane,
            "--ca-fingerprint", (directory / "ca-fingerprint").read_text(),
            "--join-token-file", str(directory / "join-token"),
            "--data-dir", str(directory / "data"), "--run-dir", str(directory / "run"),
            "--instance", self.instance(node),
            *(word for address in node.tunnel_addresses for word in ("--node-address", address)),
            *([] if "accessLog" in node.config else
              ["--access-log", str(self.directory / "logs" / f"{node.name}-access.log")]),
        ]

    def wait_ready(self, node, process=None, since=None):
        """Until a node's daemon is ready, another one than `since` (see `daemon`) if that is given."""

        def ready():
            if process is not None:
                self.must_run(process, node)
            pid, status = self.ask_daemon(node, "/v1/status")
            return status["isReady"] and pid != since

        kernel.wait_for(f"nodemeshd of {node.name} to be ready", ready, STARTUP, self.log_of(node))

    # Supervised nodes

    def client(self, node):
        return manager.Client(self.node_directory(node) / "manager.sock")

    def supervise(self, node):
        """The node's service manager, started if it does not run."""
        directory = self.node_directory(node)
        unit = manager.Unit(
            name=f"{self.name}/{node.name}", command=self.node_command(node), network=self.network(node),
            cgroup=str(self.cgroup_of(node)), log=str(self.log_of(node)), control=str(directory / "manager.sock"),
            watchdog=node.watchdog * kernel.PATIENCE)
        return manager.launch(unit, self.cgroup / "manager", directory / "manager.json")

    def daemon(self, node):
        """The process that answers for a node, None when none does. Times will not do: two may start in one second."""
        try:
            return self.ask_daemon(node, "/v1/status")[0]
        except (OSError, ValueError):
            return None

    def restart(self, target, hard=False, wait=True):
        number = signal.SIGKILL if hard else signal.SIGTERM
        if not isinstance(target, topology.Node) or not target.supervised:
            self.kill(target, number)
            self.start(target, wait)
            return
        before = self.daemon(target)
        if hard:
            self.client(target).ask("kill", signal=int(number))
        else:
            self.client(target).ask("restart")
        if wait:
            self.wait_ready(target, since=before)

    def upgrade(self, node, program):
        """Puts another program in the place of a supervised node's, as a package does, and restarts it."""
        if not node.supervised:
            raise LabError(f"node {node.name} is not `supervised: true`")
        self.client(node).ask("command", command=self.node_command(node, self.place(node, program)))
        self.restart(node)

    def place(self, node, program):
        """A copy of a program under one name, as an installed one has; by rename, since the former may run."""
        place = self.node_directory(node) / "nodemeshd"
        fresh = place.with_suffix(".new")
        shutil.copy(program, fresh)
        fresh.rename(place)
        return str(place)

    def take_over(self, node, program=None):
        """Starts a second nodemeshd, which takes over from the one that runs."""
        before = self.daemon(node)
        if before is None:
            raise LabError(f"nodemeshd of {node.name} does not answer, so nobody can take over from it")
        old = kernel.pids(self.cgroup_of(node))
        process = self.spawn(node, [*self.node_command(node, program), "--take-over"])
        self.wait_ready(node, process, since=before)
        kernel.wait_for(f"the former nodemeshd of {node.name} to end",
                        lambda: not set(old) & set(kernel.pids(self.cgroup_of(node))), STARTUP, self.log_of(node))

    def ask(self, node, path):
        """GET from a node's admin socket."""
        return self.ask_daemon(node, path)[1]

    def ask_daemon(self, node, path):
        """As `ask`, with the process that listens there."""
        patience = 5 * kernel.PATIENCE
        connection = http.client.HTTPConnection("localhost", timeout=patience)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(patience)
        try:
            connection.sock.connect(str(self.socket_of(node)))
            credentials = connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        except http.client.HTTPException as error:
            raise OSError(f"{path}: {error}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise OSError(f"{path}: {answer.status} {body.decode(errors='replace').strip()}")
        return struct.unpack("iII", credentials)[0], json.loads(body)

    # Workloads

    def start_workload(self, workload):
        if not workload.command:
            return
        self.scratch(workload).mkdir(parents=True, exist_ok=True)
        process = self.spawn(workload, workload.command)
        for port in workload.ports:

            def listens(port=port):
                self.must_run(process, workload)
                return kernel.listening(self.network(workload), port)

            kernel.wait_for(f"{workload.id} to listen on {port}", listens, STARTUP, self.log_of(workload))

    def enrol(self, workload):
        node = self.topology.node(workload.node)
        self.ctl(
            "workload", "enroll", "--namespace", workload.namespace, "--name", workload.name,
            "--service-account", workload.serviceAccount, "--cgroup", str(self.cgroup_of(workload)),
            "--network-namespace", str(kernel.NETNS / self.network(workload)),
            *(word for key, value in workload.labels.items() for word in ("--label", f"{key}={value}")),
            *workload.enrolOptions,
            node=node,
        )

        def enrolled():
            found = [one for one in self.ask(node, "/v1/workloads") if (one["namespace"], one["name"]) ==
                     (workload.namespace, workload.name)]
            if not found:
                raise ValueError("the node does not list it")
            if found[0]["state"] != "enrolled" or not found[0].get("certificateExpiresAt"):
                raise ValueError(f"{found[0]['state']}: {found[0].get('reason') or 'no reason given'}")
            return True

        kernel.wait_for(f"{workload.id} to be enrolled", enrolled, CONVERGENCE, self.log_of(node))

    def unenrol(self, workload):
        self.ctl("workload", "unenroll", workload.id, node=self.topology.node(workload.node))

    def converge(self):
        """Waits until each node sees the services and endpoints that the control plane has."""

        def endpoints(services):
            return sorted(
                (service["namespace"], service["name"],
                 sorted({(one["workload"], one["isHealthy"]) for one in service["endpoints"]}))
                for service in services
            )

        def same():
            wanted = json.loads(self.ctl("service", "list", "--all", "-o", "json"))
            for node in self.topology.nodes:
                held = self.ask(node, "/v1/services")
                if endpoints(held) != endpoints(wanted):
                    raise ValueError(f"{node.name} has {endpoints(held)}, the control plane {endpoints(wanted)}")
            self.write_hosts(wanted)
            return True

        kernel.wait_for("the nodes to see what the control plane sees", same, CONVERGENCE,
                        self.log_of(self.topology.nodes[0]))

    def write_hosts(self, services):
        """Names for the lab's workloads, in place, since the file is mounted over their /etc/hosts."""
        lines = ["127.0.0.1 localhost"]
        for service in [] if self.topology.dns else services:
            lines += [f"{address} {service['hostname']}" for address in service["addresses"]
                      if self.topology.ipv6 or ":" not in address]
        self.hosts.write_text("\n".join(lines) + "\n")

    # Processes

    def spawn(self, target, command):
        is_workload = isinstance(target, topology.Workload)
        environment = {"SCRATCH": str(self.scratch(target))} if is_workload else {}
        return kernel.spawn(
            command, self.network(target), self.cgroup_of(target), self.log_of(target),
            hosts=self.hosts if is_workload else None, resolv=self.resolv_of(target), environment=environment,
            directory=self.topology.home if is_workload else "/",
        )

    def must_run(self, process, target):
        if process.poll() is not None:
            raise LabError(f"{process.args[0]} ended with status {process.returncode}", self.log_of(target))

    def start(self, target, wait=True):
        if kernel.pids(self.cgroup_of(target)):
            raise LabError("it runs already")
        if isinstance(target, topology.Workload):
            self.start_workload(target)
        elif isinstance(target, topology.Node):
            self.start_node(target, wait=wait)
        else:
            self.start_control()

    def kill(self, target, number):
        cgroup = self.cgroup_of(target)
        if isinstance(target, topology.Node) and target.supervised:
            # With SIGKILL its manager would start it again; whoever wants that says restart -9.
            self.client(target).ask("stop")
        else:
            for pid in kernel.pids(cgroup):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        kernel.wait_for(f"the processes of {cgroup.name} to end", lambda: not kernel.populated(cgroup), 30,
                        self.log_of(target))

    # Down

    def leftovers(self):
        """What there is of this lab, as words for a person; empty when nothing is."""
        found = [f"network namespace {name}" for name in kernel.networks(f"{self.name}-")]
        if self.cgroup.exists():
            found.append(f"cgroup {self.cgroup}")
        found += [f"pins {path}" for path in self.pins()]
        if self.directory.exists():
            found.append(f"directory {self.directory}")
        return found

    def pins(self):
        mount = kernel.mount_of("bpf")
        root = mount / "nodemesh" if mount else None
        return sorted(root.glob(f"{self.name}-*")) if root and root.is_dir() else []

    def down(self):
        """Takes away all there is of this lab; what resists is reported at the end, after all the rest is gone."""
        faults = []

        def attempt(function, *arguments):
            try:
                function(*arguments)
            except (LabError, OSError) as error:
                faults.append(str(error))

        attempt(kernel.end_processes, self.cgroup)
        for path in self.pins():
            with contextlib.suppress(LabError, OSError):
                subprocess.run([self.binary("nodemeshd"), "cleanup", "--instance", path.name],
                               stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
            attempt(kernel.remove_tree, path)
        for name in kernel.networks(f"{self.name}-"):
            attempt(kernel.run, "ip", "netns", "delete", name)
        attempt(kernel.remove_cgroups, self.cgroup)
        attempt(kernel.remove_tree, self.directory)
        for shared in (self.cgroup.parent, RUN):
            with contextlib.suppress(OSError):
                shared.rmdir()
        self._topology = None
        faults += [f"still there: {thing}" for thing in self.leftovers()]
        if faults:
            raise LabError("\n".join(faults))
