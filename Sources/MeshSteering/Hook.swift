// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import MeshPrograms

/// Where a workload's programs are attached to its cgroup; the raw value names the pin.
enum Hook: String, CaseIterable, Sendable {
    // In the order of attaching: nothing is captured before everything that serves it is there. getpeername6 comes first
    // because attaching it creates the cgroup's storage, which has to be filled before the others read it.
    case getpeername6
    case getpeername4
    case getsockopt
    case workloadSockops = "sockops"
    case connect4
    case connect6

    var attachType: bpf_attach_type {
        switch self {
        case .getpeername6: BPF_CGROUP_INET6_GETPEERNAME
        case .getpeername4: BPF_CGROUP_INET4_GETPEERNAME
        case .getsockopt: BPF_CGROUP_GETSOCKOPT
        case .workloadSockops: BPF_CGROUP_SOCK_OPS
        case .connect4: BPF_CGROUP_INET4_CONNECT
        case .connect6: BPF_CGROUP_INET6_CONNECT
        }
    }

    var program: EmbeddedProgram {
        switch self {
        case .getpeername6: .getpeername6
        case .getpeername4: .getpeername4
        case .getsockopt: .getsockopt
        case .workloadSockops: .workloadSockops
        case .connect4: .connect4
        case .connect6: .connect6
        }
    }

    /// The hooks of one workload.
    static func all(answersOriginalDestination: Bool) -> [Hook] {
        Self.allCases.filter { $0 != .getsockopt || answersOriginalDestination }
    }
}
