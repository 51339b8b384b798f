// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import CMeshABI
import Glibc
import MeshLinux

/// The open maps. Descriptors never change while this lives, so any thread may use them without a lock.
final class SteeringMaps: Sendable {
    /// The names in `bpf/lib/maps.h`.
    enum Name: String, CaseIterable, Sendable {
        case abi = "nm_abi"
        case counters = "nm_counters"
        case settings = "nm_settings"
        case totals = "nm_totals"
        case sockets = "nm_sockets"
        case origins = "nm_origins"
        case proxied = "nm_proxied"
        case prefixes = "nm_prefixes"
        case workloads = "nm_workloads"
        case namespaces = "nm_namespaces"
        case ports = "nm_ports"
        case lostPorts = "nm_lost_ports"
        case failOpen = "nm_fail_open"
        case excludedPrefixes = "nm_excluded_prefixes"
        case excludedPorts = "nm_excluded_ports"
        case local = "nm_local"
        case direct = "nm_direct"
        case sockmap = "nm_sockmap"
        case joins = "nm_joins"
        case verdicts = "nm_verdicts"
        case loads = "nm_loads"
        case events = "nm_events"
        case listeners = "nm_listeners"
        case asked = "nm_asked"
        case queries = "nm_queries"
        case resolvers = "nm_resolvers"
        case enrolled = "nm_enrolled"
    }

    /// Entries that the prefix map has beyond its capacity, for replacing a full set, see ``Steering/setPrefixes(_:)``.
    static let sparePrefixes = 2

    private final class Map: Sendable {
        let descriptor: FileDescriptor
        init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }
    }

    private let maps: [String: Map]
    /// The kernel's, of all of them.
    let ids: Set<UInt32>
    /// `nm_sockets`, at hand for the data plane.
    let sockets: CInt

    private init(_ maps: [String: Map]) {
        self.maps = maps
        self.sockets = maps[Name.sockets.rawValue]?.descriptor.raw ?? -1
        self.ids = Set(maps.values.compactMap { try? BPF.info(ofMap: $0.descriptor.raw).id })
    }

    func raw(_ name: String) -> CInt? { self.maps[name]?.descriptor.raw }

    /// Every name is open, see ``init(pinnedIn:)``.
    subscript(name: Name) -> CInt { self.maps[name.rawValue]?.descriptor.raw ?? -1 }

    /// Creates the maps and pins them in `directory`.
    static func create(
        in directory: String, capacities: SteeringConfiguration.Capacities
    ) throws(SteeringError) -> SteeringMaps {
        try Self.create(capacities) { name, fd throws(SystemError) in
            if name == Name.abi.rawValue {
                try BPF.update(map: fd, key: UInt32(0), value: nm_abi(version: UInt32(NM_ABI_VERSION), pad: 0))
            }
            try BPF.pin(fd, at: directory + "/" + name)
        }
    }

    /// Maps that end with this value, for trying programs.
    static func unpinned() throws(SteeringError) -> SteeringMaps {
        var capacities = SteeringConfiguration.Capacities()
        capacities.flows = 64
        capacities.direct = 64
        capacities.verdicts = 64
        return try Self.create(capacities) { _, _ throws(SystemError) in }
    }

    private static func create(
        _ capacities: SteeringConfiguration.Capacities, _ prepare: (String, CInt) throws(SystemError) -> Void
    ) throws(SteeringError) -> SteeringMaps {
        let sizes: [Name: UInt32] = [
            .origins: capacities.flows, .proxied: capacities.flows, .queries: capacities.flows,
            .resolvers: capacities.workloads * 2,
            .prefixes: capacities.prefixes + UInt32(Self.sparePrefixes),
            .namespaces: capacities.workloads, .listeners: capacities.workloads, .enrolled: capacities.workloads,
            .failOpen: capacities.workloads, .ports: capacities.ports, .excludedPrefixes: capacities.exclusions,
            .excludedPorts: capacities.exclusions, .local: capacities.addresses, .direct: capacities.direct,
            .sockmap: capacities.direct * 2, .verdicts: capacities.verdicts, .loads: capacities.loads,
            .events: capacities.eventBytes,
        ]
        var maps: [String: Map] = [:]
        let resize = Dictionary(uniqueKeysWithValues: sizes.map { ($0.key.rawValue, $0.value) })
        try ProgramLoader.createMaps(resize: resize) { name, fd throws(SteeringError) in
            do throws(SystemError) {
                maps[name] = Map(FileDescriptor(owning: try systemCall("fcntl") { fcntl(fd, F_DUPFD_CLOEXEC, 0) }))
                try prepare(name, fd)
            } catch {
                throw SteeringError(.load, "eBPF map \(name): \(error)")
            }
        }
        guard Name.allCases.allSatisfy({ maps[$0.rawValue] != nil }) else {
            throw SteeringError(.load, "the eBPF object of the maps lacks one")
        }
        return SteeringMaps(maps)
    }

    /// The maps pinned in `directory`; nil unless all are there and have the layout this build expects.
    static func open(pinnedIn directory: String) throws(SteeringError) -> SteeringMaps? {
        var maps: [String: Map] = [:]
        let shapes = try ProgramLoader.expectedMaps()
        do throws(SystemError) {
            for shape in shapes {
                guard let descriptor = try BPF.open(pinned: directory + "/" + shape.name),
                    shape.matches(try BPF.info(ofMap: descriptor.raw))
                else { return nil }
                maps[shape.name] = Map(descriptor)
            }
            guard let abi = maps[Name.abi.rawValue]?.descriptor.raw,
                try BPF.lookup(map: abi, key: UInt32(0), empty: nm_abi())?.version == UInt32(NM_ABI_VERSION)
            else { return nil }
        } catch {
            throw SteeringError(.bpffs, "eBPF maps pinned in \(directory): \(error)")
        }
        guard Name.allCases.allSatisfy({ maps[$0.rawValue] != nil }) else { return nil }
        return SteeringMaps(maps)
    }
}
