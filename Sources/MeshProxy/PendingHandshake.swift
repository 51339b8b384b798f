// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import MeshModel
import MeshTunnel

/// A handshake on its way between a loop, which reads and writes the socket, and the threads that do the arithmetic.
///
/// `@unchecked`: it belongs to one thread at a time. A loop that has handed it to ``HandshakeWorkers`` does not touch it
/// until it comes back.
final class PendingHandshake: @unchecked Sendable {
    enum Role {
        case dialling(Connection.Target.Tunnel)
        case accepting(TunnelAcceptor)
    }

    private let role: Role
    /// OpenSSL takes tens of kilobytes for a handshake, so it is made when its first step begins: those that wait for
    /// their turn hold nothing.
    private(set) var handshake: TunnelHandshake?
    /// Bytes of the peer for the next step.
    var input: [UInt8] = []
    /// Which certificate a dialling peer gets.
    var select: (String) -> TunnelAcceptor.Selection = { _ in .unknown }
    /// What the last step came to.
    private(set) var progress = TunnelHandshake.Progress.needsBytes
    /// Why the workload that a peer asked for takes no further handshake now; nil: it does.
    private(set) var limit: String?
    private var isAllowed = false
    /// All that the peer has sent, as long as nothing was answered: a handshake that begins anew with it ends as this one
    /// would. nil: there is an answer.
    private var replay: [UInt8]? = []
    /// The threads have it.
    var isBusy = false

    init(_ role: Role) { self.role = role }

    var hasBegun: Bool { self.handshake != nil }

    /// Goes as far as the input allows; up to a millisecond or two of work.
    func step() {
        do throws(TunnelError) {
            let handshake = try self.begun()
            if !self.input.isEmpty {
                self.input.withUnsafeBytes { handshake.receive($0) }
                self.replay? += self.input
                self.input.removeAll()
            }
            handshake.select = self.select
            self.progress = handshake.advance()
            if handshake.outputCount > 0 { self.replay = nil }
        } catch {
            self.progress = .failed(error)
        }
    }

    /// Asks a workload's limit of handshakes, once.
    func isAllowed(by workload: LocalWorkload) -> Bool {
        if self.isAllowed { return true }
        do throws(WorkloadUsage.Refusal) {
            try workload.usage.admitHandshake(now: Clock.monotonic)
            self.isAllowed = true
        } catch {
            self.limit = "workload \(workload.id): \(error.text)"
        }
        return self.isAllowed
    }

    /// What the peer has sent, if nothing of an answer was made yet.
    var unanswered: [UInt8]? { self.replay.map { $0 + self.input } }

    private func begun() throws(TunnelError) -> TunnelHandshake {
        if let handshake = self.handshake { return handshake }
        let handshake: TunnelHandshake
        switch self.role {
        case .accepting(let acceptor):
            handshake = try TunnelHandshake(accepting: acceptor) { _ in .unknown }
        case .dialling(let tunnel):
            let destination = tunnel.destination
            handshake = try TunnelHandshake(
                connectingAs: tunnel.identity, to: tunnel.serverName, expecting: tunnel.expected,
                resuming: destination.session)
            handshake.onTicket = { [weak destination] in destination?.session = $0 }
        }
        self.handshake = handshake
        return handshake
    }
}
