// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshAPI
import MeshDiscovery
import MeshIdentity
import MeshModel
import Synchronization

extension ControlPlaneClient {
    /// Between a change and its publication, so that what belongs together is published together.
    private static let debounce: Duration = .milliseconds(50)
    /// Until a control plane whose store is older than what this node has seen is asked again.
    private static let rollbackPause: Duration = .seconds(10)

    func discover(_ session: any ControlPlaneSession) async throws {
        while true {
            let first = self.state.withLock { $0.discovery.connected() }
            do {
                try await session.discover(first: first) { response in try self.take(response) }
                throw ControlPlaneError(.unreachable, "the control plane ended the discovery stream")
            } catch let error as ControlPlaneError where error.code == .rolledBack {
                // The session goes on: its certificates and registrations are needed, only its view is not believed.
                try await self.clock.sleep(for: Self.rollbackPause * (1 + 0.2 * self.clock.jitter()))
                self.state.withLock { $0.discovery.disconnected() }
            }
        }
    }

    private func take(
        _ response: Envoy_Service_Discovery_V3_DeltaDiscoveryResponse
    ) throws -> Envoy_Service_Discovery_V3_DeltaDiscoveryRequest {
        let now = self.clock.now
        let (received, isFirst) = try self.state.withLock { state throws(DiscoveryError) in
            state.isHeard = true
            let received: DeltaClient.Received
            do throws(DiscoveryError) {
                received = try state.discovery.received(response)
            } catch {
                if error.code == .rolledBack { self.rolledBack(error, &state) }
                throw error
            }
            let isFirst = !state.isProven
            state.isProven = true
            state.status = ControlPlaneStatus(isConnected: true, lastConfirmed: now, lastError: nil)
            return (received, isFirst)
        }
        self.freshness.confirm()
        if isFirst { self.logger.info("connected to the control plane") }
        for refusal in received.refused.prefix(10) {
            self.logger.error(
                "a resource of the control plane was refused",
                metadata: [
                    "discovery.type": "\(received.type)", "resource": "\(refusal.name)",
                    "error": "\(refusal.reason)",
                ])
        }
        if received.isChanged { self.changed.ring() }
        return received.reply
    }

    private func rolledBack(_ error: DiscoveryError, _ state: inout State) {
        let isNew = !state.status.isRolledBack
        state.status.isRolledBack = true
        state.status.isConnected = false
        state.status.lastError = error.message
        if isNew {
            self.logger.error("the control plane's view of the mesh is refused", metadata: ["reason": "\(error)"])
        }
    }

    func publish() async {
        // What the last run held counts before anything is heard.
        await self.tell()
        for await _ in self.changed.rings {
            do { try await self.clock.sleep(for: Self.debounce) } catch { return }
            await self.tell()
        }
    }

    private func tell() async {
        let state = self.state.withLock { $0.discovery.isConsistent ? $0.discovery.state : nil }
        guard let state else { return }
        if let bundle = state.settings?.trustBundle { await self.adopt(bundle) }
        let issuing = state.settings?.issuingRoot
        self.state.withLock { client in
            let isTrusted = client.credentials.bundle.fingerprints.contains { $0.description == issuing }
            client.issuingRoot = isTrusted ? issuing : nil
        }
        self.freshness.setMeshLimit(state.settings?.maxStaleness.map { .seconds($0) })
        self.handlers.state(state)
    }

    /// Takes over another trust bundle, unless it would cut this node off.
    private func adopt(_ pem: [String]) async {
        let (credentials, refused) = self.state.withLock { ($0.credentials, $0.refusedBundle) }
        guard pem != credentials.bundle.pem, pem != refused else { return }
        do {
            var new = credentials
            new.bundle = try TrustBundle(pem: pem)
            guard new.bundle != credentials.bundle else { return }
            new.svid = try await SVID(
                identity: credentials.svid.identity, chainPEM: credentials.svid.chainPEM, key: credentials.svid.key,
                bundle: new.bundle, now: self.clock.now)
            let bundle = new.bundle
            self.keep { $0.bundle = bundle }
            self.logger.notice("the trust bundle changed", metadata: ["roots": "\(new.bundle.roots.count)"])
        } catch {
            self.state.withLock { $0.refusedBundle = pem }
            self.logger.error(
                "the control plane's new trust bundle was refused; the old one stays",
                metadata: ["error": "\(error)"])
        }
    }
}
