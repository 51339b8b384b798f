// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import Glibc
import MeshLinux

/// The `bpf(2)` commands used here, by descriptor number. libbpf returns the negative `errno`.
enum BPF {
    private static func check(_ name: StaticString, _ result: CInt) throws(SystemError) -> CInt {
        guard result >= 0 else { throw SystemError(call: name, errno: -result) }
        return result
    }

    /// The size that libbpf is told of an options structure, up to the end of its last field.
    ///
    /// libbpf refuses structures with anything but zeros behind that, and Swift copies fields, not the padding.
    static func size<Options, Field>(through last: KeyPath<Options, Field>) -> Int {
        (MemoryLayout<Options>.offset(of: last) ?? 0) + MemoryLayout<Field>.size
    }

    static func pin(_ fd: CInt, at path: String) throws(SystemError) {
        _ = try Self.check("bpf(OBJ_PIN)", bpf_obj_pin(fd, path))
    }

    /// Opens what is pinned at `path`; nil when there is nothing.
    static func open(pinned path: String) throws(SystemError) -> FileDescriptor? {
        let result = bpf_obj_get(path)
        if result == -ENOENT { return nil }
        return FileDescriptor(owning: try Self.check("bpf(OBJ_GET)", result))
    }

    /// Attaches a program to a cgroup directory or namespace.
    static func link(
        program: CInt, to target: CInt, type: bpf_attach_type
    ) throws(SystemError) -> FileDescriptor {
        FileDescriptor(owning: try Self.check("bpf(LINK_CREATE)", bpf_link_create(program, target, type, nil)))
    }

    /// Replaces the program of a link, atomically.
    static func update(link: CInt, program: CInt) throws(SystemError) {
        _ = try Self.check("bpf(LINK_UPDATE)", bpf_link_update(link, program, nil))
    }

    /// Removes what is pinned at `path`, a link or a directory of them, and takes the links' programs out of their hooks
    /// before it returns: without that the kernel does it some time after the last reference is gone. Nothing there is no
    /// error.
    static func removeLinks(_ path: String) throws(SystemError) {
        if FileTree.isDirectory(path) {
            for name in try FileTree.names(in: path) ?? [] { try Self.removeLinks(path + "/" + name) }
        } else if let link = try Self.open(pinned: path) {
            // A link that leads nowhere any more has nothing to detach.
            _ = bpf_link_detach(link.raw)
        }
        try FileTree.remove(path)
    }

    static func info(ofLink fd: CInt) throws(SystemError) -> bpf_link_info {
        try Self.info(fd, bpf_link_info())
    }

    static func info(ofMap fd: CInt) throws(SystemError) -> bpf_map_info {
        try Self.info(fd, bpf_map_info())
    }

    static func info(ofProgram fd: CInt) throws(SystemError) -> bpf_prog_info {
        try Self.info(fd, bpf_prog_info())
    }

    /// Opens a loaded program; nil when it is gone.
    static func program(id: UInt32) throws(SystemError) -> FileDescriptor? {
        let result = bpf_prog_get_fd_by_id(id)
        if result == -ENOENT { return nil }
        return FileDescriptor(owning: try Self.check("bpf(PROG_GET_FD_BY_ID)", result))
    }

    /// The section name by which programs for a hook go.
    static func name(of type: bpf_attach_type) -> String {
        switch type {
        case BPF_CGROUP_INET4_CONNECT: "cgroup/connect4"
        case BPF_CGROUP_INET6_CONNECT: "cgroup/connect6"
        case BPF_CGROUP_INET4_GETPEERNAME: "cgroup/getpeername4"
        case BPF_CGROUP_INET6_GETPEERNAME: "cgroup/getpeername6"
        case BPF_CGROUP_UDP4_RECVMSG: "cgroup/recvmsg4"
        case BPF_CGROUP_UDP6_RECVMSG: "cgroup/recvmsg6"
        case BPF_CGROUP_UDP4_SENDMSG: "cgroup/sendmsg4"
        case BPF_CGROUP_UDP6_SENDMSG: "cgroup/sendmsg6"
        case BPF_CGROUP_GETSOCKOPT: "cgroup/getsockopt"
        case BPF_CGROUP_SOCK_OPS: "sockops"
        case BPF_SK_LOOKUP: "sk_lookup"
        default: "hook \(type.rawValue)"
        }
    }

    static func name(ofMapType type: UInt32) -> String {
        switch bpf_map_type(type) {
        case BPF_MAP_TYPE_ARRAY: "ARRAY"
        case BPF_MAP_TYPE_PERCPU_ARRAY: "PERCPU_ARRAY"
        case BPF_MAP_TYPE_HASH: "HASH"
        case BPF_MAP_TYPE_LRU_HASH: "LRU_HASH"
        case BPF_MAP_TYPE_LPM_TRIE: "LPM_TRIE"
        case BPF_MAP_TYPE_SK_STORAGE: "SK_STORAGE"
        case BPF_MAP_TYPE_CGROUP_STORAGE: "CGROUP_STORAGE"
        case BPF_MAP_TYPE_SOCKMAP: "SOCKMAP"
        case BPF_MAP_TYPE_SOCKHASH: "SOCKHASH"
        case BPF_MAP_TYPE_RINGBUF: "RINGBUF"
        default: "type \(type)"
        }
    }

    private static func info<T>(_ fd: CInt, _ initial: T) throws(SystemError) -> T {
        var (value, size) = (initial, UInt32(MemoryLayout<T>.size))
        _ = try Self.check(
            "bpf(OBJ_GET_INFO)", withUnsafeMutablePointer(to: &value) { bpf_obj_get_info_by_fd(fd, $0, &size) })
        return value
    }

    static func update<Key, Value>(
        map: CInt, key: Key, value: Value, flags: UInt64 = 0
    ) throws(SystemError) {
        let result = withUnsafePointer(to: key) { key in
            withUnsafePointer(to: value) { value in bpf_map_update_elem(map, key, value, flags) }
        }
        _ = try Self.check("bpf(MAP_UPDATE)", result)
    }

    /// The value of `key`, nil when there is none. `empty` gives the type and is overwritten.
    static func lookup<Key, Value>(map: CInt, key: Key, empty: Value) throws(SystemError) -> Value? {
        var value = empty
        let result = withUnsafePointer(to: key) { key in
            withUnsafeMutablePointer(to: &value) { value in bpf_map_lookup_elem(map, key, value) }
        }
        if result == -ENOENT { return nil }
        _ = try Self.check("bpf(MAP_LOOKUP)", result)
        return value
    }

    /// Sums a per-CPU counter.
    static func sum(map: CInt, index: UInt32, processors: Int) throws(SystemError) -> UInt64 {
        var cells = [UInt64](repeating: 0, count: processors)
        let result = withUnsafePointer(to: index) { key in
            cells.withUnsafeMutableBytes { bpf_map_lookup_elem(map, key, $0.baseAddress) }
        }
        _ = try Self.check("bpf(MAP_LOOKUP)", result)
        return cells.reduce(0, &+)
    }

    /// A key that is not there is no error.
    static func delete<Key>(map: CInt, key: Key) throws(SystemError) {
        let result = withUnsafePointer(to: key) { bpf_map_delete_elem(map, $0) }
        // A sockmap says EINVAL for an empty slot.
        if result == -ENOENT || result == -EINVAL { return }
        _ = try Self.check("bpf(MAP_DELETE)", result)
    }

    /// The keys of a map, at most as many as it can have; concurrent changes may repeat or hide some.
    static func keys<Key>(map: CInt, empty: Key) throws(SystemError) -> [Key] {
        let limit = Int(try Self.info(ofMap: map).max_entries)
        var (keys, key) = ([Key](), empty)
        while keys.count < limit {
            var next = empty
            let result = withUnsafeMutablePointer(to: &next) { next in
                if keys.isEmpty { return bpf_map_get_next_key(map, nil, next) }
                return withUnsafePointer(to: key) { bpf_map_get_next_key(map, $0, next) }
            }
            if result == -ENOENT { break }
            _ = try Self.check("bpf(MAP_NEXT_KEY)", result)
            keys.append(next)
            key = next
        }
        return keys
    }

    /// The entries of a hash map, read many at a time; concurrent changes may repeat or hide some. The arguments give the
    /// types.
    static func entries<Key, Value>(
        map: CInt, key emptyKey: Key, value emptyValue: Value
    ) throws(SystemError) -> [(key: Key, value: Value)] {
        let batch = 512
        var keys = [Key](repeating: emptyKey, count: batch)
        var values = [Value](repeating: emptyValue, count: batch)
        var found: [(key: Key, value: Value)] = []
        var options = bpf_map_batch_opts()
        options.sz = Self.size(through: \bpf_map_batch_opts.flags)
        // Where to go on: a bucket's number, in no more bytes than a key has.
        var position = [UInt8](repeating: 0, count: max(8, MemoryLayout<Key>.size))
        var isFirst = true
        while true {
            var count = UInt32(batch)
            let result = position.withUnsafeMutableBytes { position in
                keys.withUnsafeMutableBytes { keys in
                    values.withUnsafeMutableBytes { values in
                        bpf_map_lookup_batch(
                            map, isFirst ? nil : position.baseAddress, position.baseAddress, keys.baseAddress,
                            values.baseAddress, &count, &options)
                    }
                }
            }
            // ENOENT: this was the last batch.
            if result != 0, result != -ENOENT { _ = try Self.check("bpf(MAP_LOOKUP_BATCH)", result) }
            for index in 0..<min(Int(count), batch) { found.append((keys[index], values[index])) }
            if result != 0 { return found }
            isFirst = false
        }
    }
}
