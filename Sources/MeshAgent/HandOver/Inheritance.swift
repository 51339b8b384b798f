// SPDX-License-Identifier: Apache-2.0

import Glibc
import MeshConfiguration
import MeshDNS
import MeshLinux
import MeshProxy

/// A data plane's state that came from another run, and what its label says.
struct Inheritance: ~Copyable, Sendable {
    let label: HandOverLabel
    let state: ProxyState
    /// The sockets at which names are asked for, or why there are none though the label tells of some.
    let names: Result<CarriedNames, NameServerError>?

    /// Opens a parcel.
    ///
    /// - Parameter configuration: of the daemon that opens it: the state must be this node's.
    /// - Throws: ``ParcelError`` with the reason; everything in the parcel is closed then.
    init(opening parcel: consuming Parcel, _ configuration: AgentConfiguration) throws(ParcelError) {
        let (node, instance) = (configuration.node, configuration.instance)
        self = try parcel.unpack { label, bytes, descriptors -> Opened in
            Opened(label: label, bytes: bytes, descriptors: descriptors, node: node, instance: instance)
        }.get()
    }

    private init(
        label: HandOverLabel, state: consuming ProxyState, names: Result<CarriedNames, NameServerError>?
    ) {
        self.label = label
        self.state = state
        self.names = names
    }

    consuming func takeState() -> ProxyState { self.state }

    /// The outcome of looking at a parcel; a typed error cannot leave the closure that looks.
    private struct Opened: ~Copyable {
        private var label: HandOverLabel?
        private var state: ProxyState?
        private var names: Result<CarriedNames, NameServerError>?
        private var failure = ""

        init(label: [UInt8], bytes: UnsafeRawBufferPointer, descriptors: [CInt], node: String, instance: String) {
            let label = HandOverLabel.decode(label)
            let count = max(0, min(label?.names?.count ?? 0, descriptors.count))
            // Own the descriptors from here on.
            let state = ProxyState(bytes: bytes, descriptors: descriptors.dropLast(count))
            if let names = label?.names {
                self.names = Result { () throws(NameServerError) in
                    try CarriedNames(manifest: names.manifest, descriptors: descriptors.suffix(count))
                }
            }
            guard let label else {
                self.failure = "its label cannot be read"
                return
            }
            guard label.node == node, label.instance == instance else {
                self.failure = "it is of node \(label.node), instance \(label.instance)"
                return
            }
            let versions = HandOverFormat.versions
            guard let version = HandOverFormat.version(of: bytes), versions.contains(version) else {
                self.failure =
                    "nodemeshd \(label.version) wrote format \(label.format), this one reads"
                    + " \(versions.lowerBound) to \(versions.upperBound)"
                return
            }
            self.label = label
            self.state = consume state
        }

        consuming func get() throws(ParcelError) -> Inheritance {
            guard let label = self.label, let state = self.state.take() else { throw ParcelError(self.failure) }
            return Inheritance(label: label, state: state, names: self.names)
        }
    }
}
