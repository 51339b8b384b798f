// SPDX-License-Identifier: Apache-2.0
import CLibBPF

/// Where programs are attached; the raw value names the pin.
enum Hook: String, CaseIterable, Sendable {
    // In the order of attaching: nothing is captured before everything that serves it is there. getpeername6 comes first
    // because attaching it creates the cgroup's storage, which has to be filled before connect4 and connect6 read it.
    case getpeername6
    case getpeername4
    case workloadSockops = "sockops"
    case connect4
    case connect6
    case inbound

    var attachType: bpf_attach_type {
        switch self {
        case .getpeername6: BPF_CGROUP_INET6_GETPEERNAME
        case .getpeername4: BPF_CGROUP_INET4_GETPEERNAME
        case .workloadSockops: BPF_CGROUP_SOCK_OPS
        case .connect4: BPF_CGROUP_INET4_CONNECT
        case .connect6: BPF_CGROUP_INET6_CONNECT
        case .inbound: BPF_SK_LOOKUP
        }
    }
}
