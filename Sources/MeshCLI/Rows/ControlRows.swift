// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI

extension NodeSummary: TableDisplayable {
    package static let columns: [Column] = [
        "NAME", "ADDRESSES", "STATE", Column("LAST SEEN"), Column("WORKLOADS", .right),
        Column("TUNNEL PORT", .right, isWide: true), Column("JOINED", isWide: true),
        Column("LOCALITY", isWide: true),
    ]

    package var sortKey: [String] { [self.name] }

    package func cells(at now: Date) -> [Cell] {
        [
            Cell(self.name), Cell(self.addresses), self.isAlive ? Cell("alive", .good) : Cell("gone", .bad),
            Cell(self.lastSeenAt.map { Human.relative($0, to: now) } ?? "never"), Cell("\(self.workloads)"),
            Cell("\(self.tunnelPort)"), Cell(Human.date(self.joinedAt)), Cell(self.locality),
        ]
    }
}

extension WorkloadSummary: TableDisplayable {
    package static let columns: [Column] = [
        "NAMESPACE", "NAME", "SERVICE ACCOUNT", "NODE", "ADDRESSES", "HEALTH", "SERVICES",
        Column("POLICIES", isWide: true), Column("IDENTITY", isWide: true), Column("LABELS", isWide: true),
        Column("LOCALITY", isWide: true), Column("LIMITS", isWide: true),
    ]

    package var sortKey: [String] { [self.namespace, self.name] }

    package func cells(at now: Date) -> [Cell] {
        [
            Cell(self.namespace), Cell(self.name), Cell(self.serviceAccount), Cell(self.node), Cell(self.addresses),
            self.isHealthy ? Cell("healthy", .good) : Cell("unhealthy", .bad), Cell(self.services.sorted()),
            Cell(self.policies.sorted()), Cell(self.identity), Cell(self.labels), Cell(self.locality),
            Cell(self.limits ?? [:]),
        ]
    }
}

extension ServiceSummary: TableDisplayable {
    package static let columns: [Column] = [
        "NAMESPACE", "NAME", "ADDRESSES", "PORTS", "HEALTHY", Column("HOST NAME", isWide: true),
        Column("ENDPOINTS", isWide: true), Column("TRAFFIC POLICY", isWide: true),
    ]

    package var sortKey: [String] { [self.namespace, self.name] }

    package func cells(at now: Date) -> [Cell] {
        let healthy = self.endpoints.count(where: \.isHealthy)
        let tone: Tone = healthy == 0 ? .bad : healthy < self.endpoints.count ? .warning : .good
        let ports = self.ports.map { $0.port == $0.targetPort ? "\($0.port)" : "\($0.port)->\($0.targetPort)" }
        let endpoints = self.endpoints.map {
            "\($0.workload)@\($0.node)=\($0.address)" + ($0.isHealthy ? "" : "(unhealthy)")
                + ($0.ejectedSeconds.map { "(ejected for \($0)s)" } ?? "")
        }
        return [
            Cell(self.namespace), Cell(self.name), Cell(self.addresses), Cell(ports),
            Cell("\(healthy)/\(self.endpoints.count)", tone), Cell(self.hostname), Cell(endpoints.sorted()),
            Cell(self.traffic ?? [:]),
        ]
    }
}

extension JoinTokenSummary: TableDisplayable {
    package static let columns: [Column] = ["ID", "NODE", "STATE", "CREATED", "EXPIRES"]

    package var sortKey: [String] { [Human.date(self.createdAt), self.id] }

    package func cells(at now: Date) -> [Cell] {
        let state: Cell =
            if self.usedAt != nil {
                Cell(self.usedBy.map { "used by \($0)" } ?? "used", .faint)
            } else {
                self.expiresAt <= now ? Cell("expired", .faint) : Cell("usable", .good)
            }
        return [
            Cell(self.id), Cell(self.node ?? "any"), state, Cell(Human.relative(self.createdAt, to: now)),
            Cell(Human.relative(self.expiresAt, to: now)),
        ]
    }
}

extension ApplyResult: TableDisplayable {
    package static let columns: [Column] = ["KIND", "NAMESPACE", "NAME", "RESULT"]

    package var sortKey: [String] { [] }

    package func cells(at now: Date) -> [Cell] {
        let tone: Tone =
            switch self.outcome {
            case .created: .good
            case .configured: .warning
            case .deleted: .bad
            case .unchanged: .faint
            }
        return [Cell(self.kind), Cell(self.namespace), Cell(self.name), Cell(self.outcome.rawValue, tone)]
    }
}
