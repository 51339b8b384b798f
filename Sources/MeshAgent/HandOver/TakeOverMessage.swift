// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshLinux

/// What two daemons say to each other while one takes over from the other. The new one begins; each message has an
/// answer, so that either knows what the other has:
///
///     new: hello        old: accepted (with its locks), or refused
///     new: give         old stops everything but its data plane, freezes that, and sends: state (with a parcel)
///     new: commit       old: go, and ends. Until commit it can go on with what it has frozen.
enum TakeOverMessage: Codable, Sendable, Equatable {
    /// Another one understands nothing of these messages.
    static let currentProtocol = 1

    struct Hello: Codable, Sendable, Equatable {
        var `protocol`: Int
        var version: String
        var node: String
        var instance: String
        /// Of the data plane's state, both ends included.
        var oldestFormat: Int
        var newestFormat: Int
        /// Of the kernel maps.
        var abi: UInt32
    }

    struct Accepted: Codable, Sendable, Equatable {
        var version: String
        var format: Int
        /// The directory of the cgroup that the old one's sockets belong to.
        var cgroup: String
        /// Its service manager's variables, for the one that takes its place.
        var environment: [String: String]
    }

    case hello(Hello)
    case accepted(Accepted)
    /// - Parameter drains: the old one ends its connections now and makes room.
    case refused(reason: String, drains: Bool)
    case give
    case state
    case commit
    case go

    func encoded() -> [UInt8] { (try? JSONEncoder().encode(self)).map(Array.init) ?? [] }

    static func decode(_ bytes: [UInt8]) -> Self? { try? JSONDecoder().decode(Self.self, from: Data(bytes)) }

    /// What an old daemon answers to a new one's hello, but for the cgroup and the environment.
    ///
    /// - Parameter own: what this daemon would say for itself.
    static func answer(to hello: Hello, own: Hello) -> TakeOverMessage {
        guard hello.protocol == own.protocol else {
            return .refused(
                reason: "nodemeshd \(hello.version) takes over in another way than \(own.version) hands over",
                drains: true)
        }
        guard hello.node == own.node, hello.instance == own.instance else {
            return .refused(
                reason: "node \(own.node), instance \(own.instance) runs here; give the other one its own --run-dir",
                drains: false)
        }
        guard hello.abi == own.abi else {
            return .refused(
                reason: "the eBPF maps of nodemeshd \(hello.version) have another layout (\(hello.abi)) than those of"
                    + " \(own.version) (\(own.abi))", drains: true)
        }
        let format = min(hello.newestFormat, own.newestFormat)
        guard format >= max(hello.oldestFormat, own.oldestFormat) else {
            return .refused(
                reason: "nodemeshd \(hello.version) reads state of format \(hello.oldestFormat) to"
                    + " \(hello.newestFormat), \(own.version) writes \(own.oldestFormat) to \(own.newestFormat)",
                drains: true)
        }
        return .accepted(Accepted(version: own.version, format: format, cgroup: "", environment: [:]))
    }
}

extension PacketConnection {
    borrowing func send(_ message: TakeOverMessage, _ descriptors: [CInt] = []) throws(SystemError) {
        try self.send(message.encoded(), descriptors)
    }

    /// - Returns: nil when the other side has closed, or says what this one does not understand. The descriptors are
    ///   the caller's.
    borrowing func receiveMessage(
        milliseconds: Int
    ) throws(SystemError) -> (message: TakeOverMessage, descriptors: [CInt])? {
        guard let packet = try self.receive(milliseconds: milliseconds) else { return nil }
        guard let message = TakeOverMessage.decode(packet.bytes) else {
            for descriptor in packet.descriptors { Linux.close(descriptor) }
            return nil
        }
        return (message, packet.descriptors)
    }
}
