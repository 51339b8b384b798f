// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import CMeshABI
import Dispatch
import Glibc
import MeshLinux
import MeshPrograms
import Synchronization

/// Puts embedded objects into the kernel.
enum ProgramLoader {
    /// A program in the kernel, unloaded with its last handle and link.
    final class Program: Sendable {
        let name: String
        /// The kernel's.
        let id: UInt32
        private let descriptor: FileDescriptor
        var raw: CInt { self.descriptor.raw }

        init(name: String, descriptor: consuming FileDescriptor) throws(SystemError) {
            self.name = name
            self.id = try BPF.info(ofProgram: descriptor.raw).id
            self.descriptor = descriptor
        }
    }

    /// The section of `bpf/lib/config.h`.
    private static let configSection = ".rodata.config"

    /// Loads the one program of `embedded`, working on `maps` and reading `config`.
    static func load(
        _ embedded: EmbeddedProgram, maps: SteeringMaps, config: nm_config
    ) throws(SteeringError) -> Program {
        try Self.withObject(embedded) { object throws(SteeringError) in
            var map = bpf_object__next_map(object, nil)
            while let current = map {
                let name = String(cString: bpf_map__name(current))
                if let shared = maps.raw(name), bpf_map__reuse_fd(current, shared) != 0 {
                    throw Self.failure("eBPF program \(embedded.name): cannot use map \(name)")
                }
                map = bpf_object__next_map(object, current)
            }
            try Self.configure(object, config, name: embedded.name)
            let code = bpf_object__load(object)
            guard code == 0 else {
                throw Self.failure("the kernel refuses eBPF program \(embedded.name)", errno: -code)
            }
            guard let program = bpf_object__next_program(object, nil) else {
                throw SteeringError(.load, "eBPF object \(embedded.name) holds no program")
            }
            return try Self.keep(bpf_program__fd(program), name: embedded.name)
        }
    }

    /// Opens the programs that are kept and loads the others side by side: the kernel takes tens of milliseconds to verify
    /// each, and connections wait for them.
    static func load(
        all embedded: [EmbeddedProgram], maps: SteeringMaps, config: nm_config, pins: ProgramPins
    ) throws(SteeringError) -> [Program] {
        let loaded = Mutex<[Int: Program]>([:])
        DispatchQueue.concurrentPerform(iterations: embedded.count) { index in
            if let kept = pins.open(embedded[index], config) { return loaded.withLock { $0[index] = kept } }
            guard let program = try? Self.load(embedded[index], maps: maps, config: config) else { return }
            pins.keep(program, embedded[index], config)
            loaded.withLock { $0[index] = program }
        }
        let found = loaded.withLock { $0 }
        var programs: [Program] = []
        for (index, one) in embedded.enumerated() {
            if let program = found[index] {
                programs.append(program)
            } else {
                // Again and alone, so that the verifier's words are about it only.
                programs.append(try Self.load(one, maps: maps, config: config))
            }
        }
        return programs
    }

    private static func configure(_ object: OpaquePointer, _ config: nm_config, name: String) throws(SteeringError) {
        guard let section = bpf_object__find_map_by_name(object, Self.configSection) else { return }
        var size = 0
        guard bpf_map__initial_value(section, &size) != nil, size == MemoryLayout<nm_config>.size,
            withUnsafePointer(to: config, { bpf_map__set_initial_value(section, $0, size) }) == 0
        else { throw SteeringError(.load, "eBPF object \(name) has an unexpected configuration section") }
    }

    /// Creates every map of `maps.bpf.c` and hands each to `body` before it is closed again.
    static func createMaps(
        resize: [String: UInt32], _ body: (_ name: String, _ fd: CInt) throws(SteeringError) -> Void
    ) throws(SteeringError) {
        try Self.withObject(.maps) { object throws(SteeringError) in
            for (name, size) in resize {
                guard let map = bpf_object__find_map_by_name(object, name), bpf_map__set_max_entries(map, size) == 0
                else { throw SteeringError(.load, "eBPF map \(name) cannot have \(size) entries") }
            }
            let code = bpf_object__load(object)
            guard code == 0 else { throw Self.failure("the kernel refuses the eBPF maps", errno: -code) }
            try Self.forEachMap(of: object) { name, map throws(SteeringError) in try body(name, bpf_map__fd(map)) }
        }
    }

    /// How each map of `maps.bpf.c` has to look.
    static func expectedMaps() throws(SteeringError) -> [MapShape] {
        try Self.withObject(.maps) { object throws(SteeringError) in
            var shapes: [MapShape] = []
            try Self.forEachMap(of: object) { name, map throws(SteeringError) in
                shapes.append(
                    MapShape(
                        name: name, type: bpf_map__type(map).rawValue, keySize: bpf_map__key_size(map),
                        valueSize: bpf_map__value_size(map)))
            }
            return shapes
        }
    }

    private static func forEachMap(
        of object: OpaquePointer, _ body: (String, OpaquePointer) throws(SteeringError) -> Void
    ) throws(SteeringError) {
        var map = bpf_object__next_map(object, nil)
        while let current = map {
            try body(String(cString: bpf_map__name(current)), current)
            map = bpf_object__next_map(object, current)
        }
    }

    private static func withObject<T>(
        _ embedded: EmbeddedProgram, _ body: (OpaquePointer) throws(SteeringError) -> T
    ) throws(SteeringError) -> T {
        LibBPFMessages.begin()
        let bytes = embedded.object
        let object = embedded.name.withCString { name in
            bytes.withUnsafeBytes { memory in
                var options = bpf_object_open_opts()
                options.sz = BPF.size(through: \bpf_object_open_opts.object_name)
                options.object_name = name
                return bpf_object__open_mem(memory.baseAddress, memory.count, &options)
            }
        }
        guard let object else { throw Self.failure("eBPF object \(embedded.name) cannot be read", errno: errno) }
        defer { bpf_object__close(object) }
        return try body(object)
    }

    /// A program that outlives its libbpf object.
    private static func keep(_ fd: CInt, name: String) throws(SteeringError) -> Program {
        do throws(SystemError) {
            return try Program(
                name: name,
                descriptor: FileDescriptor(owning: try systemCall("fcntl") { fcntl(fd, F_DUPFD_CLOEXEC, 0) }))
        } catch {
            throw SteeringError(.load, "eBPF program: \(error)")
        }
    }

    private static func failure(_ what: String, errno code: CInt? = nil) -> SteeringError {
        let reason = code.map { ": " + SystemError.text(of: $0) } ?? ""
        let hint =
            switch code {
            case EPERM: " (nodemeshd needs CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN; a container may lack bpf(2))"
            case EINVAL, EACCES: " (is the kernel older than 6.1? `nodemeshctl check` tells what it lacks)"
            default: ""
            }
        let messages = LibBPFMessages.end()
        return SteeringError(.load, what + reason + hint + (messages.isEmpty ? "" : "\n" + messages))
    }
}
