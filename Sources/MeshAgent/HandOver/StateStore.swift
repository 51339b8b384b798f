// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshConfiguration
import MeshDNS
import MeshLinux
import MeshModel
import MeshProxy

/// The descriptor store of the service manager, as the place where a data plane's state waits for the next run.
struct StateStore: Sendable {
    /// What a parcel there is.
    enum Shelf: String, CaseIterable, Sendable {
        /// Of a daemon that was stopped.
        case state = "nm-state"
        /// Kept from the start on, for the case that the daemon crashes: one of two, so that the new one is there
        /// before the old one goes.
        case first = "nm-kept-a"
        case second = "nm-kept-b"
        /// The listeners alone, from the moment a start begins to run what it has adopted until it has kept more: one of
        /// two, since it may have adopted the other.
        case listeners = "nm-listeners-a"
        case otherListeners = "nm-listeners-b"

        var parts: [String] { ["memory", "reader", "writer"].map { "\(self.rawValue)-\($0)" } }
    }

    /// Those that hold something for the case of a crash while a daemon runs.
    static let running: [Shelf] = [.first, .second, .listeners, .otherListeners]
    /// One descriptor of that name for each start that has begun to adopt what is here and has not come to its end.
    static let begun = "nm-begun"
    /// All names begin so.
    static let prefix = "nm-"
    /// So many descriptors it holds at one time.
    static let room = 16
    private static let patience = 5000

    let manager: ServiceManager

    /// nil: there is no service manager, or one that keeps no descriptors (FileDescriptorStoreMax=).
    init?(_ manager: ServiceManager?) {
        guard let manager, manager.keepsDescriptors(count: Self.room) else { return nil }
        self.manager = manager
    }

    /// - Parameter manager: has kept descriptors for this run.
    init(proven manager: ServiceManager) { self.manager = manager }

    /// Puts a state for the case of a crash on a shelf.
    func keep(
        _ state: borrowing ProxyState, _ names: CarriedNames?, _ configuration: AgentConfiguration, on shelf: Shelf
    ) throws(SystemError) {
        let label = HandOverLabel(
            kind: .crash, format: HandOverFormat.versions.upperBound, version: Version.text, node: configuration.node,
            instance: configuration.instance, frozenAt: 0, carried: state.summary.carried, tunnels: 0,
            listeners: state.summary.listeners, drained: [:], names: HandOverLabel.Names(names))
        try self.put(try Parcel.pack(state, names, label), on: shelf)
    }

    /// Puts a parcel on a shelf, and waits until it is there. Whoever calls still has his own copy.
    func put(_ parcel: borrowing Parcel, on shelf: Shelf) throws(SystemError) {
        let names = shelf.parts
        try self.manager.store([parcel.memory.raw], as: names[0])
        try self.manager.store([parcel.reader.raw], as: names[1])
        try self.manager.store([parcel.writer.raw], as: names[2])
        try self.manager.synchronise(milliseconds: Self.patience)
    }

    func clear(_ shelf: Shelf) throws(SystemError) {
        for name in shelf.parts { try self.manager.removeStored(name) }
    }

    /// What the last run has left on a shelf; nil when it is not all there.
    static func take(_ shelf: Shelf, from inherited: inout InheritedDescriptors) -> Parcel? {
        let names = shelf.parts
        guard let memory = inherited.take(names[0]), let reader = inherited.take(names[1]),
            let writer = inherited.take(names[2])
        else { return nil }
        return Parcel(memory: memory, reader: reader, writer: writer)
    }
}
