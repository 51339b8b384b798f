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
    case recvmsg4
    case recvmsg6
    case sendmsg4
    case sendmsg6
    case connect4
    case connect6

    var attachType: bpf_attach_type {
        switch self {
        case .getpeername6: BPF_CGROUP_INET6_GETPEERNAME
        case .getpeername4: BPF_CGROUP_INET4_GETPEERNAME
        case .getsockopt: BPF_CGROUP_GETSOCKOPT
        case .workloadSockops: BPF_CGROUP_SOCK_OPS
        case .recvmsg4: BPF_CGROUP_UDP4_RECVMSG
        case .recvmsg6: BPF_CGROUP_UDP6_RECVMSG
        case .sendmsg4: BPF_CGROUP_UDP4_SENDMSG
        case .sendmsg6: BPF_CGROUP_UDP6_SENDMSG
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
        case .recvmsg4: .recvmsg4
        case .recvmsg6: .recvmsg6
        case .sendmsg4: .sendmsg4
        case .sendmsg6: .sendmsg6
        case .connect4: .connect4
        case .connect6: .connect6
        }
    }

    /// The hooks of one workload.
    static func all(of enrolment: Enrolment) -> [Hook] {
        Self.allCases.filter { hook in
            switch hook {
            case .getsockopt: enrolment.answersOriginalDestination
            case .recvmsg4, .recvmsg6, .sendmsg4, .sendmsg6: enrolment.hasNamesAnswered
            case .getpeername6, .getpeername4, .workloadSockops, .connect4, .connect6: true
            }
        }
    }
}
