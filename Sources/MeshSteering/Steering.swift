// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import CMeshABI
import Glibc
import Logging
import MeshLinux
import MeshModel
import MeshPrograms
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
    }

    struct State: Sendable {
        var prefixes: Set<IPPrefix> = []
        var enrolled: [UInt32: Enrolled] = [:]
    }

    let configuration: SteeringConfiguration
    let layout: PinLayout
    let logger: Logger
    let maps: SteeringMaps
    let proxyCgroup: Cgroup
    /// One program for all workloads at each cgroup hook.
    let programs: [Hook: ProgramLoader.Program]
    let state: Mutex<State>
    private let lock: FileDescriptor

    /// Loads or adopts everything that does not belong to one workload.
    package init(configuration: SteeringConfiguration, logger: Logger) throws(SteeringError) {
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
        self.lock = try layout.lock()

        let adopted = try Self.adopt(layout, logger: logger)
        let temporary = layout.state + "-new"
        let maps: SteeringMaps
        if let adopted {
            maps = adopted
        } else {
            maps = try Self.build(in: temporary, capacities: configuration.capacities)
        }
        self.maps = maps
        self.programs = try Self.loadPrograms(maps: maps, configuration: configuration)
        let proxy = try ProgramLoader.load(.proxySockops, maps: maps, config: nm_config(configuration))
        do throws(SystemError) {
            let pin = (adopted == nil ? temporary : layout.state) + "/proxy/sockops"
            try Self.attach(proxy, toProxy: self.proxyCgroup, pin: pin)
            if adopted == nil { try FileTree.rename(temporary, to: layout.state) }
            self.state = Mutex(State(prefixes: try Self.prefixes(in: maps)))
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
            for folder in ["", "/maps", "/proxy", "/workloads"] { try FileTree.makeDirectory(directory + folder) }
        } catch {
            throw SteeringError(.bpffs, "\(directory): \(error)")
        }
        return try SteeringMaps.create(in: directory + "/maps", capacities: capacities)
    }

    private static func loadPrograms(
        maps: SteeringMaps, configuration: SteeringConfiguration
    ) throws(SteeringError) -> [Hook: ProgramLoader.Program] {
        let embedded: [Hook: EmbeddedProgram] = [
            .getpeername6: .getpeername6, .getpeername4: .getpeername4, .workloadSockops: .workloadSockops,
            .connect4: .connect4, .connect6: .connect6,
        ]
        var programs: [Hook: ProgramLoader.Program] = [:]
        for (hook, program) in embedded {
            programs[hook] = try ProgramLoader.load(program, maps: maps, config: nm_config(configuration))
        }
        return programs
    }

    /// The daemon may have been started in another cgroup than last time; then the link is made anew.
    private static func attach(
        _ program: ProgramLoader.Program, toProxy cgroup: Cgroup, pin: String
    ) throws(SystemError) {
        if let link = try BPF.open(pinned: pin) {
            if try BPF.info(ofLink: link.raw).cgroup.cgroup_id == cgroup.id {
                return try BPF.update(link: link.raw, program: program.raw)
            }
        }
        let directory = try FileDescriptor(path: cgroup.path)
        let link = try BPF.link(program: program.raw, to: directory.raw, type: BPF_CGROUP_SOCK_OPS)
        try FileTree.remove(pin)
        try BPF.pin(link.raw, at: pin)
    }

    private static func prefixes(in maps: SteeringMaps) throws(SystemError) -> Set<IPPrefix> {
        let capacity = Int(try BPF.info(ofMap: maps[.prefixes]).max_entries)
        var prefixes: Set<IPPrefix> = []
        for key in try BPF.keys(map: maps[.prefixes], empty: nm_prefix_key(), limit: capacity) {
            if let family = try BPF.lookup(map: maps[.prefixes], key: key, empty: UInt32(0)),
                let prefix = IPPrefix(key, family: family)
            {
                prefixes.insert(prefix)
            }
        }
        return prefixes
    }

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

    /// Makes an application see `client` as its peer; call it on a socket before connecting it to the application.
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
    }
}
