// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import Glibc
import MeshLinux

@testable import MeshSteering

/// Somebody else's eBPF program: counts its runs, and may translate one IPv4 destination as a load balancer would.
final class ForeignProgram: Sendable {
    private let counter: FileDescriptor
    private let program: FileDescriptor

    /// Instructions are written as the kernel reads them: code, registers, offset, constant.
    private static func instruction(
        _ code: UInt8, _ to: UInt8 = 0, _ from: UInt8 = 0, offset: Int16 = 0, _ value: Int32 = 0
    ) -> UInt64 {
        UInt64(code) | UInt64(to | from << 4) << 8 | UInt64(UInt16(bitPattern: offset)) << 16
            | UInt64(UInt32(bitPattern: value)) << 32
    }

    /// - Parameter type: `BPF_CGROUP_INET_INGRESS`, which is 0, for a filter of tc.
    /// - Parameter translating: a destination and what it becomes, for connect4 only.
    init(_ type: bpf_attach_type, translating: (from: UInt32, to: UInt32)? = nil) throws {
        let raw = bpf_map_create(BPF_MAP_TYPE_ARRAY, "foreign", 4, 8, 1, nil)
        guard raw >= 0 else { throw SystemError(call: "bpf(MAP_CREATE)", errno: -raw) }
        self.counter = FileDescriptor(owning: raw)
        var code = [
            Self.instruction(0xbf, 6, 1),  // r6 = ctx
            Self.instruction(0x62, 10, offset: -4),  // *(u32 *)(fp - 4) = 0
            Self.instruction(0xbf, 2, 10), Self.instruction(0x07, 2, 0, -4),  // r2 = fp - 4
            Self.instruction(0x18, 1, 1, raw), 0,  // r1 = map
            Self.instruction(0x85, 0, 0, 1),  // r0 = bpf_map_lookup_elem
            Self.instruction(0x15, 0, offset: 2),  // if (!r0) skip 2
            Self.instruction(0xb7, 1, 0, 1),  // r1 = 1
            Self.instruction(0xdb, 0, 1),  // lock *(u64 *)r0 += r1
        ]
        if let translating {
            code += [
                Self.instruction(0x61, 1, 6, offset: 4),  // r1 = ctx->user_ip4
                Self.instruction(0x56, 1, offset: 2, Int32(bitPattern: translating.from.bigEndian)),  // if (w1 != from)
                Self.instruction(0xb4, 2, 0, Int32(bitPattern: translating.to.bigEndian)),
                Self.instruction(0x63, 6, 2, offset: 4),  // ctx->user_ip4 = to
            ]
        }
        // For filters of tc: no opinion, ask the next.
        let answer: Int32 = type == BPF_CGROUP_INET_INGRESS ? -1 : 1
        code += [Self.instruction(0xb7, 0, 0, answer), Self.instruction(0x95)]  // return answer
        let kind =
            switch type {
            case BPF_CGROUP_INET_INGRESS: BPF_PROG_TYPE_SCHED_CLS
            case BPF_CGROUP_SOCK_OPS: BPF_PROG_TYPE_SOCK_OPS
            case BPF_SK_LOOKUP: BPF_PROG_TYPE_SK_LOOKUP
            default: BPF_PROG_TYPE_CGROUP_SOCK_ADDR
            }
        var options = bpf_prog_load_opts()
        options.sz = BPF.size(through: \bpf_prog_load_opts.log_buf)
        options.expected_attach_type = type
        let program = code.withUnsafeBytes { bytes in
            bpf_prog_load(
                kind, "foreign", "GPL", bytes.baseAddress?.assumingMemoryBound(to: bpf_insn.self), code.count, &options)
        }
        guard program >= 0 else { throw SystemError(call: "bpf(PROG_LOAD)", errno: -program) }
        self.program = FileDescriptor(owning: program)
    }

    /// Attached as long as the descriptor lives, next to others.
    func attach(to target: CInt, _ type: bpf_attach_type) throws -> FileDescriptor {
        try BPF.link(program: self.program.raw, to: target, type: type)
    }

    /// Makes it a filter of tc at an interface of the calling thread's namespace, as long as that lives.
    func filter(_ interface: UInt32, _ point: bpf_tc_attach_point) throws(SystemError) {
        var hook = Steering.hook(interface)
        hook.attach_point = point
        let made = bpf_tc_hook_create(&hook)
        guard made == 0 || made == -EEXIST else { throw SystemError(call: "bpf_tc_hook_create", errno: -made) }
        var options = bpf_tc_opts()
        options.sz = BPF.size(through: \bpf_tc_opts.priority)
        options.prog_fd = self.program.raw
        options.priority = 1
        let attached = bpf_tc_attach(&hook, &options)
        guard attached == 0 else { throw SystemError(call: "bpf_tc_attach", errno: -attached) }
    }

    var runs: UInt64 { (try? BPF.lookup(map: self.counter.raw, key: UInt32(0), empty: UInt64(0))) ?? 0 }
}
