// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import CMeshABI
import MeshLinux
import MeshPrograms

/// Programs that the kernel has verified already, for the next run of the same build: verifying takes most of a start.
///
/// A pin's name says what the program was made of: its object and its configuration. The maps that it works on lie beside
/// it, in the same state. What another build has left does not fit by its name and goes with ``removeOthers(_:)``.
struct ProgramPins: Sendable {
    let directory: String
    private let maps: SteeringMaps

    init(directory: String, maps: SteeringMaps) {
        self.directory = directory
        self.maps = maps
    }

    static func name(_ embedded: EmbeddedProgram, _ config: nm_config) -> String {
        let bytes = withUnsafeBytes(of: config) { Array($0) }
        return "\(embedded.name)-\(embedded.digest)-" + bytes.map(Self.hexadecimal).joined()
    }

    private static func hexadecimal(_ byte: UInt8) -> String { (byte < 16 ? "0" : "") + String(byte, radix: 16) }

    /// nil: nobody has loaded it yet, or what is there works on other maps.
    func open(_ embedded: EmbeddedProgram, _ config: nm_config) -> ProgramLoader.Program? {
        let path = "\(self.directory)/\(Self.name(embedded, config))"
        guard let descriptor = try? BPF.open(pinned: path), let used = try? BPF.maps(ofProgram: descriptor.raw),
            // But for its own with the configuration, which nobody can write.
            used.count(where: { !self.maps.ids.contains($0) }) <= 1
        else { return nil }
        return try? ProgramLoader.Program(name: embedded.name, descriptor: descriptor)
    }

    /// What cannot be kept is verified again by the next run.
    func keep(_ program: ProgramLoader.Program, _ embedded: EmbeddedProgram, _ config: nm_config) {
        let path = "\(self.directory)/\(Self.name(embedded, config))"
        try? FileTree.makeDirectory(self.directory)
        try? FileTree.remove(path)
        try? BPF.pin(program.raw, at: path)
    }

    func remove(_ embedded: EmbeddedProgram, _ config: nm_config) {
        try? FileTree.remove("\(self.directory)/\(Self.name(embedded, config))")
    }

    func removeOthers(_ wanted: Set<String>) throws(SystemError) {
        for name in try FileTree.names(in: self.directory) ?? [] where !wanted.contains(name) {
            try FileTree.remove("\(self.directory)/\(name)")
        }
    }
}

extension Steering {
    /// A program that is not for all workloads alike: of an earlier run, or loaded now.
    func program(_ embedded: EmbeddedProgram, _ config: nm_config) throws(SteeringError) -> ProgramLoader.Program {
        if let kept = self.pins.open(embedded, config) { return kept }
        let program = try ProgramLoader.load(embedded, maps: self.maps, config: config)
        self.pins.keep(program, embedded, config)
        return program
    }

    /// The configuration of the program at a namespace.
    func inboundConfig(_ cookie: UInt64, isShared: Bool) -> nm_config {
        var config = nm_config(self.configuration)
        config.netns = cookie
        if isShared { config.flags |= UInt32(NM_CONFIG_SHARED) }
        return config
    }

    func removeStalePrograms(_ enrolled: some Collection<Enrolled>) throws(SystemError) {
        let config = nm_config(self.configuration)
        var wanted = Set(Self.common.map { ProgramPins.name($0, config) })
        for program in [EmbeddedProgram.redirect, .sockmap, .taken, .received] {
            wanted.insert(ProgramPins.name(program, nm_config()))
        }
        for entry in enrolled {
            wanted.insert(ProgramPins.name(.inbound, self.inboundConfig(entry.cookie, isShared: entry.isShared)))
        }
        try self.pins.removeOthers(wanted)
    }

    /// The programs of all workloads.
    static var common: [EmbeddedProgram] { Hook.allCases.map(\.program) + NodeHook.allCases.map(\.program) }
}

extension BPF {
    /// The ids of the maps that a program works on.
    fileprivate static func maps(ofProgram fd: CInt) throws(SystemError) -> [UInt32] {
        // A program uses at most 64.
        var ids = [UInt32](repeating: 0, count: 64)
        var info = bpf_prog_info()
        info.nr_map_ids = UInt32(ids.count)
        var size = UInt32(MemoryLayout<bpf_prog_info>.size)
        let result = ids.withUnsafeMutableBufferPointer { ids in
            info.map_ids = UInt64(UInt(bitPattern: ids.baseAddress))
            return bpf_obj_get_info_by_fd(fd, &info, &size)
        }
        guard result == 0 else { throw SystemError(call: "bpf(OBJ_GET_INFO)", errno: -result) }
        return Array(ids.prefix(Int(info.nr_map_ids)))
    }
}
