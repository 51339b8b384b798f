// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshDiscovery
import MeshIdentity
import MeshModel

/// What a node finds of its last view when it starts, checked against who it is now.
package struct RestoredView: Sendable {
    /// Where it is kept from now on; nil: nothing can be kept.
    package var store: ViewStore?
    package var found = ViewStore.Found()
    /// As of the last run; nil: there is nothing that can be used, and the control plane has to be reached first.
    package var discovery: DeltaClient?
    package var confirmedAt: Date?
    /// Why what was there is not used.
    package var refusal: StateRefusal?

    /// Never fails: what cannot be used is told of, and left out.
    package init(directory: String, credentials: NodeCredentials, faults: StateFaults, logger: Logger) {
        let store: ViewStore
        do throws(ControlPlaneError) {
            store = try ViewStore(directory: directory)
        } catch {
            faults.report("view", error.message)
            return
        }
        self.store = store
        self.found = store.load(node: credentials.node, trustDomain: credentials.trustDomain)
        if let refusal = self.found.refusal { self.refuse(refusal.reason, file: refusal.file, logger) }
        // Its revision guards against an older control plane even when the view itself is of no use.
        var discovery = DeltaClient(
            node: credentials.node, trustDomain: credentials.trustDomain, seenRevision: self.found.revision)
        defer { if self.discovery == nil, self.found.revision > 0 { self.discovery = discovery } }
        guard let snapshot = self.found.snapshot else { return }
        let file = "\(directory)/view.snapshot"
        do {
            let refused = try discovery.restore(snapshot.responses, revision: self.found.revision)
            for refusal in refused.prefix(10) {
                logger.error(
                    "a resource of the last view cannot be read",
                    metadata: ["resource": "\(refusal.name)", "error": "\(refusal.reason)"])
            }
            try Self.check(discovery.state, against: credentials)
        } catch {
            discovery = DeltaClient(
                node: credentials.node, trustDomain: credentials.trustDomain, seenRevision: self.found.revision)
            self.found.snapshot = nil
            self.refuse(error as? StateRefusal ?? StateRefusal(.damaged, "\(error)"), file: file, logger)
            return
        }
        self.discovery = discovery
        self.confirmedAt = snapshot.header.confirmedAt
        logger.info(
            "the view of the last run is used until the control plane is reached",
            metadata: [
                "age.seconds": "\(Int(max(0, -snapshot.header.confirmedAt.timeIntervalSinceNow)))",
                "revision": "\(self.found.revision)",
            ])
    }

    /// Of this mesh's authority, or of one that took its place: some root must be trusted by both.
    private static func check(_ state: MeshState, against credentials: NodeCredentials) throws {
        guard let settings = state.settings, settings.trustDomain == credentials.trustDomain else {
            throw StateRefusal(.foreign, "is of another trust domain than \(credentials.trustDomain)")
        }
        let bundle = try TrustBundle(pem: settings.trustBundle)
        guard !bundle.fingerprints.isDisjoint(with: credentials.bundle.fingerprints) else {
            throw StateRefusal(.foreign, "is of a mesh with another authority than this node has joined")
        }
    }

    private mutating func refuse(_ refusal: StateRefusal, file: String, _ logger: Logger) {
        self.refusal = refusal
        logger.error(
            "the view of the last run is refused; traffic waits for the control plane",
            metadata: ["file": "\(file)", "why": "\(refusal.code.rawValue)", "reason": "\(refusal)"])
    }
}
