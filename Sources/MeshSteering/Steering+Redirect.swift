// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import CMeshABI
import Glibc
import MeshLinux
import MeshPrograms

/// The program at the host's ends of workloads' veths, a filter of tc next to whatever else is there.
extension Steering {
    /// Sends packets of direct connections that come from this interface straight to their receivers' ends.
    ///
    /// - Parameter interface: its index in the calling thread's network namespace. It keeps the clsact queueing
    ///   discipline that this puts there: others may have come to it since, and without filters it does nothing.
    package func attachRedirect(interface: UInt32) throws(SteeringError) {
        let program = try self.program(.redirect, nm_config())
        LibBPFMessages.begin()
        var hook = Self.hook(interface)
        // EEXIST: somebody's filters are there already, which is fine.
        let made = bpf_tc_hook_create(&hook)
        if made != 0, made != -EEXIST { throw Self.failure(interface, made) }
        LibBPFMessages.begin()
        var options = Self.options(instance: self.configuration.instance)
        options.prog_fd = program.raw
        options.flags = UInt32(BPF_TC_F_REPLACE.rawValue)
        // Its descriptor must not be closed before.
        let attached = withExtendedLifetime(program) { bpf_tc_attach(&hook, &options) }
        if attached != 0 { throw Self.failure(interface, attached) }
        _ = LibBPFMessages.end()
    }

    /// Takes it away again; without one does nothing.
    package func detachRedirect(interface: UInt32) {
        Self.detachRedirect(interface: interface, instance: self.configuration.instance)
    }

    /// Takes it away from every interface of the calling thread's network namespace, whoever left it there.
    package func detachRedirects() { Self.detachRedirects(instance: self.configuration.instance) }

    static func detachRedirects(instance: String) {
        for interface in VethPair.indexes() { Self.detachRedirect(interface: interface, instance: instance) }
    }

    private static func detachRedirect(interface: UInt32, instance: String) {
        guard Self.hasRedirect(interface: interface, instance: instance) else { return }
        var (hook, options) = (Self.hook(interface), Self.options(instance: instance))
        _ = bpf_tc_detach(&hook, &options)
    }

    /// Whether this instance's program is at an interface of the calling thread's namespace.
    static func hasRedirect(interface: UInt32, instance: String) -> Bool {
        LibBPFMessages.begin()
        defer { _ = LibBPFMessages.end() }
        var (hook, options) = (Self.hook(interface), Self.options(instance: instance))
        return bpf_tc_query(&hook, &options) == 0 && Self.isOurs(program: options.prog_id)
    }

    /// Another's filter may have the same numbers.
    private static func isOurs(program id: UInt32) -> Bool {
        let raw = bpf_prog_get_fd_by_id(id)
        guard raw >= 0 else { return false }
        let program = FileDescriptor(owning: raw)
        var (info, size) = (bpf_prog_info(), UInt32(MemoryLayout<bpf_prog_info>.size))
        guard bpf_obj_get_info_by_fd(program.raw, &info, &size) == 0 else { return false }
        return withUnsafeBytes(of: info.name) { $0.starts(with: "nm_redirect".utf8) }
    }

    /// - Returns: what libbpf takes for the filters of packets that an interface receives.
    static func hook(_ interface: UInt32) -> bpf_tc_hook {
        var hook = bpf_tc_hook()
        hook.sz = BPF.size(through: \bpf_tc_hook.parent)
        hook.ifindex = CInt(interface)
        hook.attach_point = BPF_TC_INGRESS
        return hook
    }

    /// After the filters of others, as far as there is an after, and one number for each instance.
    private static func options(instance: String) -> bpf_tc_opts {
        var options = bpf_tc_opts()
        options.sz = BPF.size(through: \bpf_tc_opts.priority)
        options.priority = UInt32(UInt16.max)
        // FNV-1a.
        let hash = instance.utf8.reduce(UInt32(2_166_136_261)) { ($0 ^ UInt32($1)) &* 16_777_619 }
        options.handle = hash & 0x7fff_ffff | 1
        return options
    }

    private static func failure(_ interface: UInt32, _ code: CInt) -> SteeringError {
        let messages = LibBPFMessages.end()
        return SteeringError(
            .attach,
            "the redirecting program at interface \(interface): \(SystemError.text(of: -code))"
                + " (needs sch_ingress and cls_bpf)" + (messages.isEmpty ? "" : "\n" + messages))
    }
}
