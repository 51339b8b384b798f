// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@Suite struct PolicyMatchTests {
    /// Every kind of condition and its negation: for which connections the match holds.
    struct Row: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var match: Match
        var field: Match.Field
        /// SPIFFE ID or nil, source, destination.
        var holding: [(String?, String, String)]
        var failing: [(String?, String, String)]
    }

    private static let client = (shopper as String?, "10.0.0.1", "10.0.0.2:8080")
    private static let plain = (nil as String?, "10.0.0.1", "10.0.0.2:8080")
    private static let foreign = ("spiffe://other/ns/shop/sa/web" as String?, "10.0.0.1", "10.0.0.2:8080")
    private static let node = ("spiffe://mesh.internal/node/n1" as String?, "10.0.0.1", "10.0.0.2:8080")
    private static let far = (shopper as String?, "192.168.7.1", "10.9.9.9:9090")
    private static let admin = ("spiffe://mesh.internal/ns/ops/sa/admin" as String?, "10.0.0.1", "10.0.0.2:8080")

    static let rows: [Row] = {
        let block = IPPrefix("10.0.0.0/24").map { [$0] } ?? []
        let accounts = [NamespacedName(namespace: "shop", name: "web")]
        func row(
            _ name: String, _ field: Match.Field, _ match: Match,
            holding: [(String?, String, String)], failing: [(String?, String, String)]
        ) -> Row { Row(testDescription: name, match: match, field: field, holding: holding, failing: failing) }
        return [
            row(
                "principals exact", .principals, principal(.exact("mesh.internal/ns/shop/sa/web")),
                holding: [client, far], failing: [plain, foreign, admin, node]),
            row(
                "principals prefix", .principals, principal(.prefix("mesh.internal/ns/shop/")),
                holding: [client], failing: [plain, foreign, admin, node]),
            row(
                "principals suffix", .principals, principal(.suffix("/sa/web")),
                holding: [client, foreign], failing: [plain, admin, node]),
            row(
                "principals presence", .principals, principal(.presence),
                holding: [client, foreign, admin, node], failing: [plain]),
            row(
                "principals empty prefix", .principals, principal(.prefix("")),
                holding: [client], failing: [plain]),
            row(
                "principals several", .principals,
                match { $0.principals = [.exact("x"), .exact("mesh.internal/ns/ops/sa/admin")] },
                holding: [admin], failing: [client, plain]),
            row(
                "notPrincipals exact", .notPrincipals,
                match { $0.notPrincipals = [.exact("mesh.internal/ns/shop/sa/web")] },
                holding: [plain, foreign, admin, node], failing: [client, far]),
            row(
                "notPrincipals presence", .notPrincipals, match { $0.notPrincipals = [.presence] },
                holding: [plain], failing: [client, foreign, admin, node]),
            row(
                "namespaces", .namespaces, match { $0.namespaces = [.exact("shop")] },
                holding: [client, foreign], failing: [plain, admin, node]),
            row(
                "namespaces presence", .namespaces, match { $0.namespaces = [.presence] },
                holding: [client, foreign, admin], failing: [plain, node]),
            row(
                "notNamespaces", .notNamespaces, match { $0.notNamespaces = [.prefix("sh")] },
                holding: [plain, admin, node], failing: [client, foreign]),
            row(
                "serviceAccounts", .serviceAccounts, match { $0.serviceAccounts = accounts },
                holding: [client, foreign], failing: [plain, admin, node]),
            row(
                "notServiceAccounts", .notServiceAccounts, match { $0.notServiceAccounts = accounts },
                holding: [plain, admin, node], failing: [client, foreign]),
            row(
                "ipBlocks", .sourceIPs, match { $0.sourceIPs = block },
                holding: [client, plain], failing: [far]),
            row(
                "notIpBlocks", .notSourceIPs, match { $0.notSourceIPs = block },
                holding: [far], failing: [client, plain]),
            row(
                "destination.ip", .destinationIPs, match { $0.destinationIPs = block },
                holding: [client, plain], failing: [far]),
            row(
                "not destination.ip", .notDestinationIPs, match { $0.notDestinationIPs = block },
                holding: [far], failing: [client, plain]),
            row(
                "ports", .destinationPorts, match { $0.destinationPorts = [80, 8080] },
                holding: [client, plain], failing: [far]),
            row(
                "notPorts", .notDestinationPorts, match { $0.notDestinationPorts = [80, 8080] },
                holding: [far], failing: [client, plain]),
        ]
    }()

    @Test(arguments: rows) func holdsOrNamesItsField(_ row: Row) throws {
        let set = PolicySet([try policy("shop/p", .deny, [[[row.match]]])])
        for (source, from, to) in row.holding {
            let trace = set.trace(try input(source, from: from, to: to))
            #expect(!trace.decision.isAllowed, "\(source ?? "-") \(from) \(to)")
            #expect(trace.policies.first?.rules.first?.clauses.first?.failures == [nil])
        }
        for (source, from, to) in row.failing {
            let trace = set.trace(try input(source, from: from, to: to))
            #expect(trace.decision.isAllowed, "\(source ?? "-") \(from) \(to)")
            #expect(trace.policies.first?.rules.first?.clauses.first?.failures == [row.field])
        }
    }

    @Test func everyKindIsInTheTable() {
        #expect(Set(Self.rows.map(\.field)) == Set(Match.Field.allCases))
    }

    @Test func allKindsOfAMatchHaveToHold() throws {
        let both = match {
            $0.namespaces = [.exact("shop")]
            $0.destinationPorts = [8080]
        }
        let set = PolicySet([try policy("shop/p", .deny, [[[both]]])])
        #expect(!set.decide(try input(shopper)).isAllowed)
        #expect(set.decide(try input(shopper, to: "10.0.0.2:81")).isAllowed)
        #expect(set.decide(try input(nil)).isAllowed)
    }

    @Test func aMatchWithoutConditionsHolds() throws {
        #expect(!PolicySet([try policy("shop/p", .deny, [[[Match()]]])]).decide(try input(nil)).isAllowed)
    }

    @Test func blocksOfOneFamilyNeverHoldForTheOther() throws {
        let all = PolicySet([try policy("shop/p", .deny, [[[match { $0.sourceIPs = [try prefix("0.0.0.0/0")] }]]])])
        #expect(!all.decide(try input(nil)).isAllowed)
        #expect(all.decide(try input(nil, from: "fd00::1")).isAllowed)
    }

    @Test(
        arguments: [
            (AuthorizationPolicy.StringMatch.exact("ab"), "ab", true), (.exact("ab"), "abc", false),
            (.exact("ab"), nil, false), (.exact(""), "", false), (.prefix("ab"), "abc", true),
            (.prefix("ab"), "ab", true),
            (.prefix("ab"), "a", false), (.prefix("ab"), nil, false), (.suffix("bc"), "abc", true),
            (.suffix("bc"), "c", false), (.suffix(""), "c", true), (.suffix(""), nil, false), (.presence, "x", true),
            (.presence, "", false), (.presence, nil, false),
        ] as [(AuthorizationPolicy.StringMatch, String?, Bool)])
    func stringMatches(_ match: AuthorizationPolicy.StringMatch, _ value: String?, _ expected: Bool) {
        #expect(match.matches(value) == expected)
    }
}
