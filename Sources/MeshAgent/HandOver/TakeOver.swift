// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshConfiguration
import MeshLinux
import MeshModel
import MeshProxy
import MeshSteering

/// The new daemon's half of a take-over. Its calls block: nothing else of the daemon runs yet.
struct TakeOver: ~Copyable, Sendable {
    /// How the running daemon answered.
    enum Answer: ~Copyable {
        case accepted(TakeOver)
        /// It ends its connections, and then itself.
        case drains(reason: String)
    }

    /// Milliseconds within which the other daemon answers, and within which it gives its state: its services end
    /// first.
    private static let patience = 10_000
    private static let givePatience = 60_000

    let answer: TakeOverMessage.Accepted
    /// Of the run directory and of the steering's instance: locked while one of both daemons has them.
    let runLock: FileDescriptor
    let steeringLock: FileDescriptor
    private let connection: PacketConnection

    /// Asks the daemon that runs for this configuration's run directory.
    static func ask(_ configuration: AgentConfiguration) throws(AgentError) -> Answer {
        guard let address = UnixAddress(configuration.handOverPath) else {
            throw AgentError("--take-over: \(configuration.handOverPath) is no absolute path")
        }
        do {
            let connection = try PacketConnection(to: address)
            guard try connection.peer().uid == geteuid() else {
                throw AgentError("another user's process listens at \(address)")
            }
            try connection.send(.hello(.own(configuration)))
            guard let reply = try connection.receiveMessage(milliseconds: Self.patience) else {
                throw AgentError("the running nodemeshd does not understand; restart it instead")
            }
            switch reply.message {
            case .accepted(let answer):
                guard reply.descriptors.count == 2 else {
                    for descriptor in reply.descriptors { Linux.close(descriptor) }
                    throw AgentError("the running nodemeshd did not send its locks")
                }
                return .accepted(
                    TakeOver(
                        answer: answer, runLock: FileDescriptor(owning: reply.descriptors[0]),
                        steeringLock: FileDescriptor(owning: reply.descriptors[1]), connection: connection))
            case .refused(let reason, true): return .drains(reason: reason)
            case .refused(let reason, false): throw AgentError(reason)
            default: throw AgentError("the running nodemeshd says something else")
            }
        } catch {
            throw AgentError("cannot take over from the nodemeshd at \(address): \(error)")
        }
    }

    private init(
        answer: TakeOverMessage.Accepted, runLock: consuming FileDescriptor, steeringLock: consuming FileDescriptor,
        connection: consuming PacketConnection
    ) {
        self.answer = answer
        self.runLock = runLock
        self.steeringLock = steeringLock
        self.connection = connection
    }

    /// Has the other daemon hand over. Afterwards it is gone, or as good as: the state is this one's.
    ///
    /// - Throws: what went wrong; the other daemon goes on then.
    borrowing func receive(_ configuration: AgentConfiguration) throws(AgentError) -> Inheritance {
        do {
            try self.connection.send(.give)
            guard let reply = try self.connection.receiveMessage(milliseconds: Self.givePatience) else {
                throw AgentError("the running nodemeshd went away before it handed over")
            }
            guard case .state = reply.message, reply.descriptors.count == 3 else {
                for descriptor in reply.descriptors { Linux.close(descriptor) }
                throw AgentError("the running nodemeshd did not send its state")
            }
            let parcel = Parcel(
                memory: FileDescriptor(owning: reply.descriptors[0]),
                reader: FileDescriptor(owning: reply.descriptors[1]),
                writer: FileDescriptor(owning: reply.descriptors[2]))
            let inheritance = try Inheritance(opening: parcel, configuration)
            try self.connection.send(.commit)
            // An end without a word is as good: the other one is gone then, and cannot go on.
            _ = try? self.connection.receiveMessage(milliseconds: Self.patience)
            return inheritance
        } catch {
            throw AgentError("cannot take over: \(error)")
        }
    }
}

extension TakeOverMessage.Hello {
    static func own(_ configuration: AgentConfiguration) -> Self {
        Self(
            protocol: TakeOverMessage.currentProtocol, version: Version.text, node: configuration.node,
            instance: configuration.instance, oldestFormat: HandOverFormat.versions.lowerBound,
            newestFormat: HandOverFormat.versions.upperBound, abi: Steering.abiVersion)
    }
}
