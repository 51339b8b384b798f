// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAPI
import SwiftProtobuf
import Testing

@testable import MeshDiscovery

struct DeltaServerStreamTests {
    @Test func `a wildcard client gets everything once, then only changes`() throws {
        let stream = ServerStream()
        var tables = Sample.tables([Sample.plain("a"), Sample.plain("b")])
        #expect(stream.next(from: tables) == nil)
        #expect(try stream.received(.subscribe(.address)) == .subscribed(.address))
        let first = try #require(stream.next(from: tables))
        #expect(first.resources.map(\.name) == ["a", "b"])
        #expect(first.removedResources.isEmpty)
        #expect(!first.isPartial)
        // Outstanding: nothing more, not even a change.
        _ = tables[.address]?.replace(with: [Sample.plain("a", "2"), Sample.plain("c")])
        #expect(stream.next(from: tables) == nil)
        #expect(try stream.received(.answer(first)) == .acknowledged(.address))
        let second = try #require(stream.next(from: tables))
        #expect(second.resources.map(\.name) == ["a", "c"])
        #expect(second.removedResources == ["b"])
        #expect(second.nonce != first.nonce)
        #expect(try stream.received(.answer(second)) == .acknowledged(.address))
        #expect(stream.next(from: tables) == nil)
    }

    @Test func `an empty type is answered, an unset one is not`() throws {
        let stream = ServerStream()
        _ = try stream.received(.subscribe(.authorization))
        _ = try stream.received(.subscribe(.address))
        #expect(stream.next(from: [:]) == nil)
        var tables = Sample.tables()
        tables[.authorization] = nil
        // Later types wait for earlier ones.
        #expect(stream.next(from: tables) == nil)
        tables = Sample.tables()
        #expect(stream.next(from: tables)?.typeURL == ResourceType.authorization.typeURL)
        #expect(stream.next(from: tables)?.typeURL == ResourceType.address.typeURL)
        #expect(stream.next(from: tables) == nil)
    }

    @Test func `dry-run policies go only to who asks for them`() throws {
        var tables = Sample.tables(authorization: [Sample.plain("p")])
        _ = tables[.dryRun]?.replace(with: [Sample.plain("dry")])
        let older = ServerStream()
        for type in ResourceType.allCases where type.isRequired { _ = try older.received(.subscribe(type)) }
        var sent: [String] = []
        while let response = older.next(from: tables) {
            sent += response.resources.map(\.name)
            _ = try older.received(.answer(response))
        }
        #expect(sent == ["p"])
        let newer = ServerStream()
        for type in ResourceType.allCases { _ = try newer.received(.subscribe(type)) }
        sent = []
        while let response = newer.next(from: tables) {
            sent += response.resources.map(\.name)
            _ = try newer.received(.answer(response))
        }
        #expect(sent == ["p", "dry"])
    }

    @Test func `policies come before workloads and go after them`() throws {
        let stream = ServerStream()
        var tables = Sample.tables([Sample.plain("w")], authorization: [Sample.plain("p")])
        _ = try stream.received(.subscribe(.address))
        _ = try stream.received(.subscribe(.authorization))
        let policies = try #require(stream.next(from: tables))
        let workloads = try #require(stream.next(from: tables))
        #expect(policies.typeURL == ResourceType.authorization.typeURL)
        #expect(workloads.typeURL == ResourceType.address.typeURL)
        // A new policy cannot go out while the last response is outstanding; the workload that names it waits.
        _ = tables[.authorization]?.replace(with: [Sample.plain("p"), Sample.plain("q")])
        _ = tables[.address]?.replace(with: [Sample.plain("w", "names q")])
        _ = try stream.received(.answer(workloads))
        #expect(stream.next(from: tables) == nil)
        _ = try stream.received(.answer(policies))
        let policy = try #require(stream.next(from: tables))
        #expect(policy.resources.map(\.name) == ["q"])
        let workload = try #require(stream.next(from: tables))
        #expect(workload.resources.map(\.name) == ["w"])
        _ = try stream.received(.answer(policy))
        _ = try stream.received(.answer(workload))
        // Removal: the workload first.
        _ = tables[.authorization]?.replace(with: [Sample.plain("p")])
        _ = tables[.address]?.replace(with: [Sample.plain("w")])
        #expect(stream.next(from: tables)?.resources.map(\.name) == ["w"])
        #expect(stream.next(from: tables)?.removedResources == ["q"])
        #expect(stream.next(from: tables) == nil)
    }

    @Test func `a client that resumes gets the difference`() throws {
        let stream = ServerStream()
        let tables = Sample.tables([Sample.plain("same"), Sample.plain("changed", "new"), Sample.plain("new")])
        _ = try stream.received(
            .subscribe(
                .address,
                holding: [
                    "same": Sample.plain("same").version, "changed": Sample.plain("changed").version, "gone": "x",
                ]))
        let response = try #require(stream.next(from: tables))
        #expect(response.resources.map(\.name) == ["changed", "new"])
        #expect(response.removedResources == ["gone"])
    }

    @Test func `a refused resource is not repeated until it changes`() throws {
        let stream = ServerStream()
        var tables = Sample.tables([Sample.plain("bad")])
        _ = try stream.received(.subscribe(.address))
        let first = try #require(stream.next(from: tables))
        #expect(try stream.received(.answer(first, error: "no")) == .rejected(.address, message: "no"))
        #expect(stream.next(from: tables) == nil)
        _ = tables[.address]?.replace(with: [Sample.plain("bad", "better")])
        #expect(stream.next(from: tables)?.resources.map(\.name) == ["bad"])
    }

    @Test func `stale and invented nonces acknowledge nothing`() throws {
        let stream = ServerStream()
        var tables = Sample.tables([Sample.plain("a")])
        _ = try stream.received(.subscribe(.address))
        let first = try #require(stream.next(from: tables))
        _ = tables[.address]?.replace(with: [])
        for nonce in ["", "0", "999", first.nonce + " "] {
            var request = Request.answer(first)
            request.responseNonce = nonce
            #expect(try stream.received(request) == .ignored(.address))
            #expect(stream.next(from: tables) == nil)
        }
        #expect(try stream.received(.answer(first)) == .acknowledged(.address))
        #expect(stream.next(from: tables) != nil)
        #expect(try stream.received(.answer(first)) == .ignored(.address))
    }

    @Test func `names can be added and dropped`() throws {
        let stream = ServerStream()
        var tables = Sample.tables([Sample.plain("a"), Sample.plain("b")])
        _ = try stream.received(.subscribe(.address, names: ["a", "absent"]))
        let first = try #require(stream.next(from: tables))
        #expect(first.resources.map(\.name) == ["a"])
        #expect(first.removedResources == ["absent"])
        _ = try stream.received(.answer(first))
        #expect(try stream.received(.subscribe(.address, names: ["b"])) == .subscribed(.address))
        let second = try #require(stream.next(from: tables))
        #expect(second.resources.map(\.name) == ["b"])
        _ = try stream.received(.answer(second))
        // Dropped: later changes of it are not sent, and nothing is said about it.
        _ = try stream.received(.subscribe(.address, unsubscribe: ["a"]))
        _ = tables[.address]?.replace(with: [Sample.plain("a", "2"), Sample.plain("b", "2")])
        let third = try #require(stream.next(from: tables))
        #expect(third.resources.map(\.name) == ["b"])
        #expect(third.removedResources == [])
        _ = try stream.received(.answer(third))
        // Asked again: sent again.
        _ = try stream.received(.subscribe(.address, names: ["a", "b"]))
        let fourth = try #require(stream.next(from: tables))
        #expect(fourth.resources.map(\.name) == ["a", "b"])
        _ = try stream.received(.answer(fourth))
        // From names to everything and back.
        _ = tables[.address]?.replace(with: ["a", "b", "c"].map { Sample.plain($0, "2") })
        _ = try stream.received(.subscribe(.address, names: ["*"]))
        let fifth = try #require(stream.next(from: tables))
        #expect(fifth.resources.map(\.name) == ["c"])
        _ = try stream.received(.answer(fifth))
        _ = try stream.received(.subscribe(.address, unsubscribe: ["*"]))
        _ = tables[.address]?.replace(with: [])
        #expect(stream.next(from: tables)?.removedResources == ["a", "b"])
    }

    @Test func `large changes are cut and marked`() throws {
        var limits = DiscoveryLimits()
        limits.responseBytes = 300
        let stream = ServerStream(limits: limits)
        let tables = Sample.tables(
            (0..<5).map { Sample.plain("r\($0)") } + [Sample.plain("r5", String(repeating: "x", count: 1000))])
        _ = try stream.received(.subscribe(.address))
        var names: [String] = []
        var parts = 0
        while let response = stream.next(from: tables) {
            parts += 1
            names += response.resources.map(\.name)
            #expect(response.isPartial == (names.count < 6))
            _ = try stream.received(.answer(response))
        }
        #expect(names == (0..<6).map { "r\($0)" })
        #expect(parts == 3)
    }

    @Test func `a stream that fell behind the log compares everything`() throws {
        let stream = ServerStream()
        var tables = Sample.tables([Sample.plain("a"), Sample.plain("gone")])
        _ = try stream.received(.subscribe(.address))
        let first = try #require(stream.next(from: tables))
        _ = tables[.address]?.update(upserting: [], removing: ["gone"])
        for index in 0..<100 { _ = tables[.address]?.update(upserting: [Sample.plain("a", "\(index)")], removing: []) }
        #expect(tables[.address]?.changes(after: 1) == nil)
        _ = try stream.received(.answer(first))
        let second = try #require(stream.next(from: tables))
        #expect(second.resources.map(\.version) == [Sample.plain("a", "99").version])
        #expect(second.removedResources == ["gone"])
    }

    @Test func `hostile requests`() throws {
        var limits = DiscoveryLimits()
        limits.names = 4
        limits.nameBytes = 8
        let stream = ServerStream(limits: limits)
        #expect(try stream.received(.with { $0.typeURL = "a type far too long" }) == .unknownType("a type f"))
        #expect(try stream.received(Request()) == .unknownType(""))
        let many = (0..<5).map { "n\($0)" }
        let long = "123456789"
        let cases: [Request] = [
            .subscribe(.address, names: many), .subscribe(.address, unsubscribe: many),
            .subscribe(.address, holding: Dictionary(uniqueKeysWithValues: many.map { ($0, "") })),
            .subscribe(.address, names: [long]), .subscribe(.address, unsubscribe: [long]),
            .subscribe(.address, holding: [long: ""]), .subscribe(.address, holding: ["": long]),
        ]
        for request in cases {
            #expect(throws: DiscoveryError(.limitExceeded, "")) { try stream.received(request) }
        }
        // Within the bound in each request, beyond it in their sum.
        _ = try stream.received(.subscribe(.address, names: ["a", "b", "c"]))
        #expect(throws: DiscoveryError(.limitExceeded, "")) {
            try stream.received(.subscribe(.address, names: ["d", "e"]))
        }
    }
}

struct ResourceTableTests {
    @Test func `only real changes count`() {
        let table = Table(logLength: 8)
        #expect(table.replace(with: [Sample.plain("a"), Sample.plain("b")]))
        #expect(!table.replace(with: [Sample.plain("b"), Sample.plain("a")]))
        #expect(table.generation == 1)
        #expect(table.changes(after: 0)?.sorted() == ["a", "b"])
        #expect(table.changes(after: 1) == [])
        #expect(table.changes(after: 2) == nil)
        #expect(table.update(upserting: [], removing: ["a"]))
        #expect(!table.update(upserting: [], removing: ["a"]))
        #expect(table.changes(after: 1) == ["a"])
    }

    @Test func `the log forgets whole generations`() {
        let table = Table(logLength: 3)
        _ = table.replace(with: [Sample.plain("a"), Sample.plain("b")])
        _ = table.update(upserting: [Sample.plain("c")], removing: [])
        #expect(table.changes(after: 0)?.count == 3)
        _ = table.update(upserting: [Sample.plain("d")], removing: [])
        #expect(table.changes(after: 0) == nil)
        #expect(table.changes(after: 1)?.sorted() == ["c", "d"])
        _ = table.update(upserting: (0..<9).map { Sample.plain("\($0)") }, removing: [])
        #expect(table.changes(after: 2) == nil)
        #expect(table.changes(after: 4) == [])
    }
}
