// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import CMeshABI
import Glibc
import Logging
import MeshLinux
import MeshModel
import Synchronization

/// Steers the sockets of enrolled workloads to the proxy, by eBPF programs that stay in place when this process ends.
///
/// Everything is pinned below `<bpffs>/nodemesh/<instance>`. A new process of the same instance adopts what it finds when
/// its layout agrees, and otherwise builds anew next to it. Until somebody calls ``unenrol(_:)``, ``pruneStale()`` or
/// ``removeAll(instance:bpffs:)``, a workload stays steered, and without a proxy its captured connects are refused.
///
/// All methods may be called from any thread. Those marked "data plane" take no lock and make one system call.
package final class Steering: Sendable {
    struct Enrolled: Sendable {
        let id: String
        let cgroup: Cgroup
        let cookie: UInt64
        let slot: UInt32
        let isShared: Bool
        let hooks: [Hook]
        let failMode: SteeringConfiguration.FailMode?
        let excludesInbound: Bool
    }

    struct State: Sendable {
        var prefixes: Set<IPPrefix> = []
        var enrolled: [UInt32: Enrolled] = [:]
        /// Of workloads that have none of their own.
        var failMode: SteeringConfiguration.FailMode
        /// What `nm_settings` holds; change it by ``Steering/changeSettings(_:_:)``.
        var settings = nm_settings()
        /// Ids of the cgroups whose guards and probes were asked for since the start.
        var guards: Set<UInt64> = []
        var probes: Set<UInt64> = []
    }

    let configuration: SteeringConfiguration
    let layout: PinLayout
    let logger: Logger
    let maps: SteeringMaps
    let pins: ProgramPins
    let proxyCgroup: Cgroup
    /// One program for all workloads at each cgroup hook.
    let programs: [Hook: ProgramLoader.Program]
    let nodePrograms: [NodeHook: ProgramLoader.Program]
    let state: Mutex<State>
    private let lock: FileDescriptor
    /// Ids of the cgroups whose sockets are the proxy's: its own, and those of earlier runs that sockets are left of.
    package let proxyCgroups: Set<UInt64>

    /// Loads or adopts everything that does not belong to one workload.
    ///
    /// - Parameter lock: of the instance, from the process that holds it and hands over; nil: it is taken.
    package init(
        configuration: SteeringConfiguration, lock: consuming FileDescriptor? = nil, logger: Logger
    ) throws(SteeringError) {
        let layout = try PinLayout(bpffs: configuration.bpffs, instance: configuration.instance)
        try layout.checkFileSystem()
        self.configuration = configuration
        self.layout = layout
        self.logger = logger
        do throws(SystemError) {
            self.proxyCgroup = try Cgroup(path: configuration.proxyCgroup)
        } catch {
            throw SteeringError(.invalid, "the daemon's cgroup \(configuration.proxyCgroup): \(error)")
        }
        do throws(SystemError) {
            try FileTree.makeDirectory(layout.root)
            try FileTree.makeDirectory(layout.directory)
        } catch {
            throw SteeringError(.bpffs, "\(layout.directory): \(error); nodemeshd needs to run as root")
        }
        if let lock = consume lock { self.lock = lock } else { self.lock = try layout.lock() }

        let adopted = try Self.adopt(layout, logger: logger)
        let temporary = layout.state + "-new"
        let maps: SteeringMaps
        if let adopted {
            maps = adopted
        } else {
            maps = try Self.build(in: temporary, capacities: configuration.capacities)
        }
        self.maps = maps
        let config = nm_config(configuration)
        var (programs, nodePrograms) = ([Hook: ProgramLoader.Program](), [NodeHook: ProgramLoader.Program]())
        let directory = adopted == nil ? temporary : layout.state
        let loaded = try ProgramLoader.load(
            all: Self.common, maps: maps, config: config,
            pins: ProgramPins(directory: PinLayout.programs(in: directory), maps: maps))
        self.pins = ProgramPins(directory: PinLayout.programs(in: layout.state), maps: maps)
        for (hook, program) in zip(Hook.allCases, loaded) { programs[hook] = program }
        for (hook, program) in zip(NodeHook.allCases, loaded.dropFirst(Hook.allCases.count)) {
            nodePrograms[hook] = program
        }
        (self.programs, self.nodePrograms) = (programs, nodePrograms)
        do throws(SystemError) {
            let proxy = directory + "/proxy"
            let former = try Self.keepFormer(nodePrograms[.proxySockops], in: proxy, besides: self.proxyCgroup)
            self.proxyCgroups = former.union([self.proxyCgroup.id])
            try Self.attach(nodePrograms[.proxySockops], .proxySockops, to: self.proxyCgroup, pin: proxy + "/sockops")
            if adopted == nil { try FileTree.rename(temporary, to: layout.state) }
            var state = State(prefixes: try Self.prefixes(in: maps), failMode: configuration.failMode)
            state.settings = try BPF.lookup(map: maps[.settings], key: UInt32(0), empty: nm_settings()) ?? nm_settings()
            self.state = Mutex(state)
        } catch {
            throw Self.explain(error, attaching: "nodemeshd's own cgroup", to: configuration.proxyCgroup)
        }
    }

    /// The maps of an earlier run, nil when there are none of this layout. Moves a state of another layout aside.
    private static func adopt(_ layout: PinLayout, logger: Logger) throws(SteeringError) -> SteeringMaps? {
        do throws(SystemError) {
            // What a crash left half-built.
            try FileTree.remove(layout.state + "-new")
            guard FileTree.exists(layout.state) else { return nil }
        } catch {
            throw SteeringError(.bpffs, "\(layout.directory): \(error)")
        }
        if let maps = try SteeringMaps.open(pinnedIn: layout.maps) {
            logger.info("adopting the eBPF state of an earlier run", metadata: ["bpf.path": "\(layout.state)"])
            return maps
        }
        do throws(SystemError) {
            // Its programs stay attached and find no proxy: closed until each workload is enrolled with the new ones.
            var number = 1
            while FileTree.exists("\(layout.directory)/old-\(number)") { number += 1 }
            try FileTree.rename(layout.state, to: "\(layout.directory)/old-\(number)")
        } catch {
            throw SteeringError(.bpffs, "\(layout.state): \(error)")
        }
        logger.warning(
            "the eBPF state of an earlier run has another layout and is replaced",
            metadata: ["bpf.path": "\(layout.state)"])
        return nil
    }

    private static func build(
        in directory: String, capacities: SteeringConfiguration.Capacities
    ) throws(SteeringError) -> SteeringMaps {
        do throws(SystemError) {
            try FileTree.makeDirectory(directory)
            for folder in PinLayout.folders { try FileTree.makeDirectory(directory + "/" + folder) }
        } catch {
            throw SteeringError(.bpffs, "\(directory): \(error)")
        }
        return try SteeringMaps.create(in: directory + "/maps", capacities: capacities)
    }

    /// Attaches a program to a cgroup, or puts it into the link pinned there. The cgroup may be another than last time,
    /// then the link is made anew.
    static func attach(
        _ program: ProgramLoader.Program?, _ hook: NodeHook, to cgroup: Cgroup, pin: String
    ) throws(SystemError) {
        guard let program else { throw SystemError(call: "program", errno: ENOENT) }
        if let link = try BPF.open(pinned: pin) {
            let info = try BPF.info(ofLink: link.raw)
            if info.cgroup.cgroup_id == cgroup.id { return try Self.put(program, into: link, of: info) }
        }
        let directory = try FileDescriptor(path: cgroup.path)
        let link = try BPF.link(program: program.raw, to: directory.raw, type: hook.attachType)
        try FileTree.remove(pin)
        try BPF.pin(link.raw, at: pin)
    }

    static func put(
        _ program: ProgramLoader.Program, into link: borrowing FileDescriptor, of info: bpf_link_info
    ) throws(SystemError) {
        if info.prog_id != program.id { try BPF.update(link: link.raw, program: program.raw) }
    }

    private static func prefixes(in maps: SteeringMaps) throws(SystemError) -> Set<IPPrefix> {
        var prefixes: Set<IPPrefix> = []
        for key in try BPF.keys(map: maps[.prefixes], empty: nm_prefix_key()) {
            if let family = try BPF.lookup(map: maps[.prefixes], key: key, empty: UInt32(0)),
                let prefix = IPPrefix(key, family: family)
            {
                prefixes.insert(prefix)
            }
        }
        return prefixes
    }

    /// Changes what the programs read of `nm_settings`.
    func changeSettings(_ state: inout State, _ change: (inout nm_settings) -> Void) throws(SystemError) {
        var settings = state.settings
        change(&settings)
        try BPF.update(map: self.maps[.settings], key: UInt32(0), value: settings)
        state.settings = settings
    }

    func copyLock() throws(SystemError) -> FileDescriptor { try self.lock.duplicate() }

    // MARK: Data plane

    /// Where the captured connection behind an accepted socket wanted to go; nil when it was not captured (refuse it).
    /// Data plane.
    package func originalDestination(of fd: CInt) -> OriginalDestination? {
        var value = nm_socket()
        guard withUnsafePointer(to: fd, { bpf_map_lookup_elem(self.maps.sockets, $0, &value) }) == 0,
            value.kind == UInt32(NM_SOCKET_ORIGIN)
        else { return nil }
        return OriginalDestination(address: value.address.socketAddress, workloadKey: value.workload)
    }

    /// For whom the connection behind a socket is that an inbound listener accepted; nil when it was not steered there
    /// (refuse it). Data plane.
    package func inboundOrigin(of fd: CInt) -> InboundOrigin? {
        var value = nm_socket()
        guard withUnsafePointer(to: fd, { bpf_map_lookup_elem(self.maps.sockets, $0, &value) }) == 0,
            value.kind == UInt32(NM_SOCKET_INBOUND)
        else { return nil }
        return InboundOrigin(workloadKey: value.workload, sourceKey: value.source == 0 ? nil : value.source)
    }

    /// Makes an application see `client` as its peer; call it on a socket before connecting it to the application. In a
    /// shared namespace the mark also is what makes the connection pass.
    /// Data plane.
    ///
    /// - Returns: whether the kernel took it; if not, the application would see the proxy.
    package func setRealClient(on fd: CInt, client: SocketAddress) -> Bool {
        var value = nm_socket()
        value.address = nm_endpoint(client)
        value.kind = UInt32(NM_SOCKET_CLIENT)
        return withUnsafePointer(to: fd) { bpf_map_update_elem(self.maps.sockets, $0, &value, UInt64(BPF_ANY)) } == 0
    }
}

extension nm_config {
    init(_ configuration: SteeringConfiguration) {
        self.init()
        self.outbound_port = configuration.outboundPort
        self.inbound_port = configuration.inboundPort
        self.dns_port = configuration.dnsPort
        // Telling the subflows of an MPTCP socket takes the kernel's type information.
        if FileTree.exists("/sys/kernel/btf/vmlinux"), FileTree.exists("/proc/sys/net/mptcp/enabled") {
            self.flags |= UInt32(NM_CONFIG_MULTIPATH)
        }
    }
}
