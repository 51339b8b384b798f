// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import MeshConfiguration
import MeshIdentity
import MeshModel
import MeshResources
import MeshStore
import X509

/// What operators can look at.
extension OperatorAPI {
    package func status() async throws -> ControlStatus {
        let view = try await self.view()
        let alive = self.liveness.alive
        let nodes = try await self.storedNodes()
        return ControlStatus(
            version: Version.text, trustDomain: self.settings.trustDomain,
            caFingerprint: try self.authorities.authorities.active.fingerprint().description,
            caExpiresAt: self.authorities.authorities.active.root.notValidAfter, nodes: nodes.count,
            nodesAlive: nodes.count { alive.contains($0.name) }, workloads: view.workloads.count,
            services: view.services.count, policies: try await self.policyCount(), startedAt: self.startedAt,
            problem: self.restored.problem(present: try await self.presentRevision()),
            caRotation: self.authorities.phase == .steady ? nil : self.authorities.phase.rawValue,
            pendingRestart: self.live.pending.map(\.key), configurationProblems: self.live.problems)
    }

    private func presentRevision() async throws -> Int64 {
        do { return try await self.store.presentRevision() } catch { throw APIError(error) }
    }

    package func nodes() async throws -> [NodeSummary] {
        let view = try await self.view()
        let counts = Dictionary(view.workloads.map { ($0.node, 1) }, uniquingKeysWith: +)
        let now = ContinuousClock.now
        return try await self.storedNodes().map { node in
            let silence = self.liveness.silence(of: node.name, now: now)
            return NodeSummary(
                name: node.name, addresses: node.addresses.map(\.description), tunnelPort: Int(node.tunnelPort),
                isAlive: self.liveness.isAlive(node.name), joinedAt: node.joinedAt,
                lastSeenAt: silence.map { Date().addingTimeInterval(-$0.seconds) } ?? node.lastSeenAt,
                workloads: counts[node.name] ?? 0, locality: node.locality.description)
        }
    }

    package func workloads() async throws -> [WorkloadSummary] {
        let view = try await self.view()
        return view.workloads.sorted { $0.id < $1.id }.map { workload in
            WorkloadSummary(
                namespace: workload.id.namespace, name: workload.id.name, serviceAccount: workload.serviceAccount,
                identity: workload.identity?.description ?? "", node: workload.node,
                addresses: workload.addresses.map(\.description), labels: view.labels[workload.id] ?? [:],
                isHealthy: workload.isHealthy, services: workload.services.keys.sorted().map(\.description),
                policies: workload.policies.map(\.description), locality: workload.locality.description,
                limits: workload.limits?.figures)
        }
    }

    package func services() async throws -> [ServiceSummary] {
        let view = try await self.view()
        var endpoints: [NamespacedName: [ServiceSummary.Endpoint]] = [:]
        for workload in view.workloads.sorted(by: { $0.id < $1.id }) {
            for service in workload.services.keys {
                for address in workload.addresses {
                    endpoints[service, default: []].append(
                        .init(
                            workload: workload.id.description, node: workload.node, address: address.description,
                            isHealthy: workload.isHealthy))
                }
            }
        }
        return view.services.sorted { $0.id < $1.id }.map { service in
            ServiceSummary(
                namespace: service.id.namespace, name: service.id.name, hostname: service.hostname,
                addresses: service.addresses.map(\.description),
                ports: service.ports.map {
                    .init(
                        name: view.portNames[service.id]?[$0.servicePort], port: Int($0.servicePort),
                        targetPort: Int($0.targetPort))
                }, endpoints: endpoints[service.id] ?? [], traffic: service.trafficFigures)
        }
    }

    package func certificates() async throws -> [CertificateSummary] {
        let now = Date()
        do {
            return try await self.store.certificates().map {
                CertificateSummary(
                    identity: $0.identity, serial: $0.serial, node: $0.node, notBefore: $0.notBefore,
                    notAfter: $0.notAfter, state: $0.notAfter > now ? "valid" : "expired")
            }
        } catch {
            throw APIError(error)
        }
    }

    /// PEM.
    package func trustBundle() throws -> String { try self.authorities.authorities.bundle().pem.joined() }

    /// The store answers, and what it holds can be published.
    package func checkHealth() async throws { _ = try await self.view() }

    func view() async throws -> MeshProjection {
        do {
            return try await self.publisher.view()
        } catch let error as StoreError {
            throw APIError(error)
        }
    }

    private func storedNodes() async throws -> [NodeRecord] {
        do { return try await self.store.nodes() } catch { throw APIError(error) }
    }

    /// What operators declared; the ones made from PeerAuthentications are not counted twice.
    private func policyCount() async throws -> Int {
        do {
            return try await self.store.resources(kind: .authorizationPolicy).count
                + self.store.resources(kind: .peerAuthentication).count
        } catch {
            throw APIError(error)
        }
    }
}
