// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc
import MeshLinux
import Testing

@testable import MeshProxy

/// What the kernel answers to the loops of one node. Only debug builds can be told.
final class FaultScript: @unchecked Sendable {
    /// A kind of system call.
    enum Call: Int, CaseIterable {
        case receive, peek, discard, readVector, send, sendVector, spliceIn, spliceOut, accept, socket, connect, pipe
        case pipeSize, epollControl, setOption, eventfd
    }

    enum Answer: Hashable, CustomStringConvertible {
        case error(CInt)
        /// Moves no more than so many bytes.
        case short(Int)

        var description: String {
            switch self {
            case .error(let code): SystemError.text(of: code)
            case .short(let count): "short: \(count)"
            }
        }
    }

    private let raw: OpaquePointer

    init() throws { self.raw = try #require(nm_faults_make()) }

    /// From now on the node's loops follow this script.
    func attach(to node: TestNode) async {
        for loop in node.proxy.loops { _ = await loop.ask { _ in nm_faults_attach(self.raw) } }
    }

    /// The `first`-th call from now (from 1), and every `every`-th behind it (0: no other), gets this answer.
    func add(_ call: Call, first: Int, every: Int = 0, _ answer: Answer) {
        switch answer {
        case .error(let code): nm_faults_add(self.raw, CInt(call.rawValue), UInt32(first), UInt32(every), code, 0)
        case .short(let count): nm_faults_add(self.raw, CInt(call.rawValue), UInt32(first), UInt32(every), 0, count)
        }
    }

    /// Drops the rules and counts from 0.
    func clear() { nm_faults_clear(self.raw) }

    func calls(_ call: Call) -> Int { Int(nm_faults_calls(self.raw, CInt(call.rawValue))) }
    var injected: Int { Int(nm_faults_injected(self.raw)) }
}

extension FaultScript.Call {
    /// What a kernel may answer to it at any moment.
    var answers: [FaultScript.Answer] {
        switch self {
        case .receive, .readVector:
            [.error(EAGAIN), .error(ECONNRESET), .error(ENOMEM), .error(ETIMEDOUT), .short(1), .short(700)]
        case .peek: [.error(EAGAIN), .error(ECONNRESET), .error(ENOMEM), .short(1)]
        case .discard: [.error(EAGAIN), .error(ECONNRESET), .error(ENOMEM), .short(1)]
        case .send, .sendVector:
            [
                .error(EAGAIN), .error(EPIPE), .error(ECONNRESET), .error(ENOBUFS), .error(ENOMEM), .short(1),
                .short(700),
            ]
        case .spliceIn: [.error(EAGAIN), .error(ECONNRESET), .error(ENOMEM), .short(1), .short(5000)]
        case .spliceOut: [.error(EAGAIN), .error(EPIPE), .error(ENOMEM), .short(1), .short(5000)]
        case .accept:
            [
                .error(EAGAIN), .error(EMFILE), .error(ENFILE), .error(ENOMEM), .error(ENOBUFS), .error(ECONNABORTED),
                .error(EPERM),
            ]
        case .socket: [.error(EMFILE), .error(ENFILE), .error(ENOMEM), .error(ENOBUFS), .error(EACCES)]
        case .connect:
            [
                .error(ECONNREFUSED), .error(ENETUNREACH), .error(EADDRNOTAVAIL), .error(ENOBUFS), .error(ETIMEDOUT),
                .error(EAGAIN),
            ]
        case .pipe: [.error(EMFILE), .error(ENFILE), .error(ENOMEM)]
        case .pipeSize: [.error(EPERM), .error(EBUSY), .error(ENOMEM)]
        case .epollControl: [.error(ENOMEM), .error(ENOSPC)]
        case .setOption: [.error(ENOBUFS), .error(ENOMEM)]
        case .eventfd: []
        }
    }
}
