# SPDX-License-Identifier: Apache-2.0
"""The topology file: reading, checking, and the addresses that follow from it.

    hub        10.200.0.1       the switch between the nodes; nodemesh-control lives here
    node N     10.200.0.(10+N)
    workload M 10.201.N.M       inside the mesh prefix 10.201.0.0/16
               10.202.N.M       when it is `outside: true`

With `ipv6: true` everything has an IPv6 address too: fd00:200::1, fd00:200::(10+N), fd00:201:N::M inside the mesh prefix
fd00:201::/32, and fd00:202:N::M outside. Without it the namespaces have no IPv6.

With `dns: true` services have no names in /etc/hosts: workloads ask, by a resolv.conf of their own, the `nameservers` that
they name, or their node's address. A node asks its own, by default itself.
"""

import re
import shlex
from dataclasses import asdict, dataclass, field
from pathlib import Path

MESH_PREFIX, MESH_PREFIX6 = "10.201.0.0/16", "fd00:201::/32"
CONTROL_ADDRESS, CONTROL_ADDRESS6 = "10.200.0.1", "fd00:200::1"
CONTROL = "control"
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?\Z")
ADDRESS = re.compile(r"\d{1,3}(\.\d{1,3}){3}\Z")


class TopologyError(Exception):
    """Everything that is wrong with a topology file, one fault a line."""


@dataclass
class Node:
    name: str
    # From 1; the third byte of its workloads' addresses.
    index: int
    # nodemeshd's configuration file; the lab's own flags win over it. ${LAB_CGROUP} is the lab's cgroup,
    # ${LAB_DIRECTORY} where its files are.
    config: dict = field(default_factory=dict)
    # In which families peers reach its tunnel port, the preferred one first; with IPv6 alone it also dials the control
    # plane over that.
    tunnels: list[str] = field(default_factory=lambda: ["ipv4"])
    # A service manager of the lab's runs nodemeshd: it keeps descriptors, has a watchdog and starts it again.
    supervised: bool = False
    # Of its resolv.conf, in a lab with `dns: true`.
    nameservers: list[str] = field(default_factory=list)
    # Seconds within which that manager wants to hear from nodemeshd; the lab's patience makes them more.
    watchdog: int = 30

    @property
    def address(self):
        return f"10.200.0.{10 + self.index}"

    @property
    def address6(self):
        return f"fd00:200::{10 + self.index}"

    @property
    def control_plane(self):
        """Where it dials the control plane: over IPv6 if peers reach it over nothing else."""
        return f"{CONTROL_ADDRESS}:15012" if "ipv4" in self.tunnels else f"[{CONTROL_ADDRESS6}]:15012"

    @property
    def tunnel_addresses(self):
        return [self.address if family == "ipv4" else self.address6 for family in self.tunnels]


@dataclass
class Workload:
    name: str
    namespace: str
    node: str
    # None: it has no IPv4.
    address: str | None
    # None: it has no IPv6.
    address6: str | None
    serviceAccount: str
    # From 1 on its node; names the node's end of its link.
    index: int
    labels: dict[str, str] = field(default_factory=dict)
    command: list[str] | None = None
    # Ports the command will listen on: `up` waits for them.
    ports: list[int] = field(default_factory=list)
    # False: it can be enrolled later, by `Tools/lab enrol`.
    enrol: bool = True
    # Its address is outside the mesh prefixes and it is never enrolled.
    outside: bool = False
    # It lives in its node's own network namespace, at the node's addresses.
    host: bool = False
    # Further words for `nodemeshctl workload enroll`.
    enrolOptions: list[str] = field(default_factory=list)
    # Of its resolv.conf, in a lab with `dns: true`.
    nameservers: list[str] = field(default_factory=list)

    @property
    def id(self):
        return f"{self.namespace}/{self.name}"


@dataclass
class Topology:
    name: str
    nodes: list[Node]
    workloads: list[Workload]
    # nodemesh-control's configuration file, as it is.
    control: dict
    # YAML text of the documents to apply before the nodes start.
    resources: str
    # The topology file's directory, in which the workloads' commands start.
    home: str
    # Everything has IPv6 addresses too.
    ipv6: bool = False
    # Names come from nodemeshd.
    dns: bool = False

    def node(self, name):
        return next((node for node in self.nodes if node.name == name), None)

    def workload(self, name):
        """The workload called `namespace/name`, or just `name` where only one has it."""
        found = [one for one in self.workloads if name in (one.id, one.name)]
        exact = [one for one in found if one.id == name]
        return (exact or found)[0] if len(exact or found) == 1 else None

    def to_json(self):
        return asdict(self)

    @staticmethod
    def from_json(value):
        return Topology(
            value["name"],
            [Node(**node) for node in value["nodes"]],
            [Workload(**workload) for workload in value["workloads"]],
            value["control"],
            value["resources"],
            value["home"],
            value["ipv6"],
            value["dns"],
        )


def load(path):
    """Reads and checks a topology file; every fault is reported at once."""
    import yaml

    path = Path(path)
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise TopologyError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TopologyError(f"{path}: not YAML: {error}") from error
    return _Reader(path).read(document)


class _Reader:
    def __init__(self, path):
        self.path = path
        self.faults = []

    def read(self, document):
        top = self.mapping(document, "the file", {"name", "ipv6", "dns", "nodes", "workloads", "control", "resources"})
        self.ipv6 = self.boolean(top, "ipv6", False, "the file")
        dns = self.boolean(top, "dns", False, "the file")
        nodes = [self.node(item, i + 1) for i, item in enumerate(self.items(top, "nodes", "the file"))]
        self.unique([node.name for node in nodes], "node")
        if not nodes:
            self.faults.append("nodes: at least one is needed")
        workloads = []
        for item in self.items(top, "workloads", "the file"):
            workloads.append(self.workload(item, nodes, workloads))
        workloads = [workload for workload in workloads if workload]
        self.unique([workload.id for workload in workloads], "workload")
        for family in ("address", "address6"):
            own = [getattr(workload, family) for workload in workloads if not workload.host]
            self.unique([address for address in own if address], family)
        control = self.options(top, "control", "control")
        resources = "\n---\n".join(self.resource(item) for item in self.items(top, "resources", "the file"))
        if self.faults:
            raise TopologyError("\n".join(f"{self.path}: {fault}" for fault in self.faults))
        home = str(self.path.resolve().parent)
        return Topology(str(top.get("name", self.path.stem)), nodes, workloads, control, resources, home, self.ipv6, dns)

    def node(self, item, index):
        where = f"nodes[{index - 1}]"
        item = self.mapping(item, where, {"name", "config", "tunnels", "supervised", "nameservers", "watchdog"})
        name = self.name(item, "name", where)
        if name in (CONTROL, "hub", "exec"):
            self.faults.append(f"{where}.name: {name} is a name of the lab's own")
        if len(name) > 15:
            self.faults.append(f"{where}.name: at most 15 characters")
        if index > 200:
            self.faults.append(f"{where}: at most 200 nodes")
        both = ["ipv4", "ipv6"] if self.ipv6 else ["ipv4"]
        tunnels = item.get("tunnels", both)
        if not isinstance(tunnels, list) or not tunnels or any(one not in both for one in tunnels):
            self.faults.append(f"{where}.tunnels: must be a list of {' and '.join(both)}, the lab's families")
            tunnels = both
        supervised = self.boolean(item, "supervised", False, where)
        nameservers = [str(one) for one in self.items(item, "nameservers", where)]
        watchdog = item.get("watchdog", 30)
        if not isinstance(watchdog, int) or watchdog < 1:
            self.faults.append(f"{where}.watchdog: must be a whole number of seconds")
            watchdog = 30
        config = self.options(item, "config", f"{where}.config")
        return Node(name, index, config, tunnels, supervised, nameservers, watchdog)

    def workload(self, item, nodes, before):
        where = f"workloads[{len(before)}]"
        known = set(Workload.__dataclass_fields__) - {"index"} | {"ipv4"}
        item = self.mapping(item, where, known)
        name = self.name(item, "name", where)
        node = next((node for node in nodes if node.name == item.get("node")), None)
        if node is None:
            self.faults.append(f"{where}.node: {item.get('node')!r} is not one of the nodes")
            return None
        index = 1 + sum(1 for other in before if other and other.node == node.name)
        outside = self.boolean(item, "outside", False, where)
        host = self.boolean(item, "host", False, where)
        address, address6 = self.addresses(item, where, node, index, 202 if outside else 201, host)
        command = item.get("command")
        if isinstance(command, str):
            command = shlex.split(command)
        elif command is not None and not isinstance(command, list):
            self.faults.append(f"{where}.command: must be a command line or a list of words")
            command = None
        return Workload(
            name=name,
            namespace=self.name(item, "namespace", where, "default"),
            node=node.name,
            address=address,
            address6=address6,
            serviceAccount=self.name(item, "serviceAccount", where, "default"),
            index=index,
            labels={str(key): str(value) for key, value in (item.get("labels") or {}).items()},
            command=[str(word) for word in command] if command else None,
            ports=[int(port) for port in item.get("ports", [])],
            enrol=self.boolean(item, "enrol", True, where) and not outside,
            outside=outside,
            host=host,
            enrolOptions=[str(word) for word in self.items(item, "enrolOptions", where)],
            nameservers=[str(one) for one in self.items(item, "nameservers", where)],
        )

    def addresses(self, item, where, node, index, network, host):
        if host:
            for key in {"address", "address6", "ipv4", "outside"} & set(item):
                self.faults.append(f"{where}.{key}: a workload with `host: true` has its node's addresses")
            return node.address, node.address6 if self.ipv6 else None
        address = str(item.get("address") or f"10.{network}.{node.index}.{index}")
        if not ADDRESS.match(address):
            self.faults.append(f"{where}.address: {address!r} is not an IPv4 address")
        if not self.boolean(item, "ipv4", True, where):
            address = None
        address6 = None
        if self.ipv6:
            address6 = str(item.get("address6") or f"fd00:{network}:{node.index:x}::{index:x}")
        elif "address6" in item or address is None:
            self.faults.append(f"{where}: needs `ipv6: true` at the top of the file")
        return address, address6

    def resource(self, item):
        """Inline documents, as a mapping or as text, or the name of a file beside this one."""
        import yaml

        if isinstance(item, dict):
            return yaml.safe_dump(item, sort_keys=False)
        text = str(item)
        if "\n" in text.strip() or not text.strip().endswith((".yaml", ".yml")):
            return text
        try:
            return (self.path.parent / text.strip()).read_text()
        except OSError as error:
            self.faults.append(f"resources: {text.strip()}: {error.strerror}")
            return ""

    def mapping(self, value, where, known):
        if not isinstance(value, dict):
            self.faults.append(f"{where}: must be a mapping")
            return {}
        for key in sorted(set(map(str, value)) - known):
            self.faults.append(f"{where}: unknown key {key!r}; known are {', '.join(sorted(known))}")
        return value

    def options(self, item, key, where):
        found = item.get(key) or {}
        if isinstance(found, dict):
            return found
        self.faults.append(f"{where}: must be a mapping, the daemon's configuration")
        return {}

    def items(self, value, key, where):
        found = value.get(key) or []
        if isinstance(found, list):
            return found
        self.faults.append(f"{where}: {key} must be a list")
        return []

    def name(self, item, key, where, default=""):
        value = item.get(key, default)
        if isinstance(value, str) and NAME.match(value):
            return value
        self.faults.append(f"{where}.{key}: {value!r} is not a name (small letters, digits and -, at most 32)")
        return default

    def boolean(self, item, key, default, where):
        value = item.get(key, default)
        if isinstance(value, bool):
            return value
        self.faults.append(f"{where}.{key}: must be true or false")
        return default

    def unique(self, values, what):
        for value in sorted({value for value in values if values.count(value) > 1}):
            self.faults.append(f"{what} {value} is there twice")
