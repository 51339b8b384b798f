// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import MeshPrograms

/// Where programs are attached that belong to no workload: to nodemeshd's cgroup, to those of health probes, and to the
/// parents of templates. The raw value names the pin.
enum NodeHook: String, CaseIterable, Sendable {
    case proxySockops = "proxy"
    case probeSockops = "sockops"
    case guard4 = "connect4"
    case guard6 = "connect6"

    var attachType: bpf_attach_type {
        switch self {
        case .proxySockops, .probeSockops: BPF_CGROUP_SOCK_OPS
        case .guard4: BPF_CGROUP_INET4_CONNECT
        case .guard6: BPF_CGROUP_INET6_CONNECT
        }
    }

    var program: EmbeddedProgram {
        switch self {
        case .proxySockops: .proxySockops
        case .probeSockops: .probeSockops
        case .guard4: .guard4
        case .guard6: .guard6
        }
    }
}
