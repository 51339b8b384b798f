// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI

extension EnrolledWorkload: TableDisplayable {
    package static let columns: [Column] = [
        "NAMESPACE", "NAME", "SERVICE ACCOUNT", "ADDRESSES", "STATE", Column("CERTIFICATE"),
        Column("IDENTITY", isWide: true), Column("LABELS", isWide: true), Column("NETWORK NAMESPACE", isWide: true),
        Column("CGROUP", isWide: true), Column("LIMITS", isWide: true), Column("DECLARED BY", isWide: true),
        Column("NETWORK", isWide: true), Column("FAIL MODE", isWide: true),
        Column("UNCAPTURED", .right, isWide: true),
    ]

    package var sortKey: [String] { [self.namespace, self.name] }

    package func cells(at now: Date) -> [Cell] {
        let tone: Tone =
            switch self.state {
            case "enrolled": .good
            case "registering", "absent", "empty": .warning
            default: .bad
            }
        return [
            Cell(self.namespace), Cell(self.name), Cell(self.serviceAccount), Cell(self.addresses),
            Cell(self.reason.map { "\(self.state): \($0)" } ?? self.state, tone),
            self.certificateExpiresAt.map { date in
                Cell("expires \(Human.relative(date, to: now))", date <= now ? .bad : .plain)
            } ?? Cell("none", .warning),
            Cell(self.identity), Cell(self.labels), Cell(self.networkNamespace), Cell(self.cgroup),
            Cell(self.limits ?? [:]), Cell(self.origin), Cell(self.network),
            Cell(self.failMode ?? "node's", self.failMode == "open" ? .warning : .plain),
            Cell(self.uncaptured.map(String.init), self.uncaptured ?? 0 > 0 ? .warning : .plain),
        ]
    }
}

extension ConnectionSummary: TableDisplayable {
    package static let columns: [Column] = [
        Column("ID", isWide: true), "DIRECTION", "SOURCE", "SOURCE IDENTITY", "DESTINATION", "DESTINATION IDENTITY",
        "WIRE", "STATE", Column("SENT", .right), Column("RECEIVED", .right), Column("AGE", .right),
        Column("SERVICE", isWide: true), Column("SOURCE ADDRESS", isWide: true), Column("UPSTREAM", isWide: true),
        Column("ENGINE", isWide: true),
    ]

    package var sortKey: [String] { [self.source ?? self.sourceAddress, self.destination, self.id] }

    package func cells(at now: Date) -> [Cell] {
        let destination = self.destinationWorkload.map { "\($0) (\(self.destination))" } ?? self.destination
        return [
            Cell(self.id), Cell(self.direction), Cell(self.source ?? self.sourceAddress),
            Cell(Self.principal(self.sourceIdentity)), Cell(destination),
            Cell(Self.principal(self.destinationIdentity)),
            Cell(self.wire, self.wire == "plaintext" ? .warning : .plain),
            Cell(self.state, self.state == "established" ? .good : .plain), Cell(Human.bytes(self.bytesSent)),
            Cell(Human.bytes(self.bytesReceived)), Cell(Human.duration(self.ageSeconds)), Cell(self.service),
            Cell(self.sourceAddress), Cell(self.upstream), Cell(self.engine),
        ]
    }

    /// The form in which policies name an identity.
    private static func principal(_ identity: String?) -> String? {
        let scheme = "spiffe://"
        return identity.map { $0.hasPrefix(scheme) ? String($0.dropFirst(scheme.count)) : $0 }
    }
}

extension CertificateSummary: TableDisplayable {
    package static let columns: [Column] = [
        "IDENTITY", "NODE", "STATE", "EXPIRES", Column("SERIAL", isWide: true), Column("NOT BEFORE", isWide: true),
        Column("NOT AFTER", isWide: true),
    ]

    package var sortKey: [String] { [self.identity, self.node, Human.date(self.notAfter), self.serial] }

    package func cells(at now: Date) -> [Cell] {
        let state = self.notAfter <= now ? "expired" : self.state
        let tone: Tone =
            switch state {
            case "expired": .bad
            case "pending", "renewing": .warning
            default: self.lastError == nil ? .good : .warning
            }
        return [
            Cell(self.identity), Cell(self.node), Cell(self.lastError.map { "\(state): \($0)" } ?? state, tone),
            Cell(Human.relative(self.notAfter, to: now)), Cell(self.serial), Cell(Human.date(self.notBefore)),
            Cell(Human.date(self.notAfter)),
        ]
    }
}
