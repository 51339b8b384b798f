// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshModel
import MeshResources
import MeshStore
import Testing

@Suite struct VirtualAddressTests {
    let files: TemporaryStore

    init() throws { self.files = try TemporaryStore() }

    private func address(_ name: String, in store: Store) async throws -> IPAddress? {
        try await store.resources(kind: .service, namespace: "shop", name: name).first?.addresses.first
    }

    @Test func aServiceKeepsItsAddress() async throws {
        let store = try self.files.open()
        _ = try await store.apply([service("a")])
        let first = try #require(try await self.address("a", in: store))
        #expect(store.virtualPrefixes[0].contains(first))
        _ = try await store.apply([service("a", json: "[1]"), service("b")])
        #expect(try await self.address("a", in: store) == first)
        _ = try await store.delete([key("a")])
        #expect(try await self.address("a", in: store) == nil)
        _ = try await store.apply([service("a")])
        #expect(try await self.address("a", in: store) == first)
    }

    @Test func noAddressIsGivenTwice() async throws {
        let store = try self.files.open()
        for batch in 0..<10 { _ = try await store.apply((0..<200).map { service("s\(batch)-\($0)") }) }
        let addresses = try await store.resources().flatMap(\.addresses)
        #expect(addresses.count == 2_000)
        #expect(Set(addresses).count == 2_000)
    }

    @Test func aSmallRangeRunsOutWithAnExplanation() async throws {
        let prefix = try #require(IPPrefix("240.240.0.0/22"))
        let store = try Store(path: self.files.path, virtualPrefixes: [prefix])
        _ = try await store.apply((0..<767).map { service("s\($0)") })
        let error = await #expect(throws: StoreError.self) { try await store.apply([service("one-more")]) }
        #expect(error?.code == .conflict)
        // A released address is no stranger's for an hour.
        _ = try await store.delete([key("s5")], now: start)
        await #expect(throws: StoreError.self) {
            try await store.apply([service("one-more")], now: start.addingTimeInterval(3_000))
        }
        #expect(
            try await store.apply([service("one-more")], now: start.addingTimeInterval(3_700)) == [.created])
    }

    @Test func theOperatorsChoiceIsHonoured() async throws {
        let store = try self.files.open()
        let chosen = try #require(IPAddress("240.240.0.7"))
        _ = try await store.apply([service("a", address: .fixed([chosen]))])
        #expect(try await self.address("a", in: store) == chosen)
        #expect(try await store.apply([service("a", address: .fixed([chosen]))]) == [.unchanged])
        let other = try #require(IPAddress("240.240.0.8"))
        _ = try await store.apply([service("a", address: .fixed([other]))])
        #expect(try await self.address("a", in: store) == other)
        // The first one is free for whoever names it.
        #expect(try await store.apply([service("b", address: .fixed([chosen]))]) == [.created])
    }

    @Test func anAutomaticAddressDoesNotTakeWhatALaterDocumentNames() async throws {
        let store = try self.files.open()
        _ = try await store.apply([service("a")])
        let natural = try #require(try await self.address("a", in: store))
        _ = try await store.delete([key("a")], now: .distantPast)
        _ = try await store.apply([service("a"), service("b", address: .fixed([natural]))])
        #expect(try await self.address("b", in: store) == natural)
        #expect(try await self.address("a", in: store) != natural)
    }

    @Test func becomingHeadlessReleasesIt() async throws {
        let store = try self.files.open()
        _ = try await store.apply([service("a")])
        _ = try await store.apply([service("a", json: "[]", address: .none)])
        #expect(try await self.address("a", in: store) == nil)
    }

    // MARK: - Families

    private static let both = ["240.240.0.0/16", "fd6e:6d65:7368::/64"]

    private func addresses(_ name: String, in store: Store) async throws -> [IPAddress] {
        try await store.resources(kind: .service, namespace: "shop", name: name).first?.addresses ?? []
    }

    @Test func aServiceHasOneAddressOfEachFamily() async throws {
        let store = try self.files.open(Self.both)
        _ = try await store.apply([service("a"), service("six", address: VirtualAddress(automatic: [.ipv6]))])
        let first = try await self.addresses("a", in: store)
        #expect(first.map(\.family) == [.ipv4, .ipv6])
        #expect(zip(store.virtualPrefixes, first).allSatisfy { $0.contains($1) })
        #expect(try await self.addresses("six", in: store).map(\.family) == [.ipv6])
        #expect(try await store.apply([service("a")]) == [.unchanged])
        // It gives one up and gets the same again.
        _ = try await store.apply([service("a", address: VirtualAddress(automatic: [.ipv4]))])
        #expect(try await self.addresses("a", in: store) == [first[0]])
        #expect(try await store.apply([service("a")]) == [.configured])
        #expect(try await self.addresses("a", in: store) == first)
    }

    @Test func anAddressOfOneFamilyMayBeNamedAndTheOtherAssigned() async throws {
        let store = try self.files.open(Self.both)
        let chosen = try #require(IPAddress("240.240.0.7"))
        let wanted = VirtualAddress(fixed: [chosen], automatic: [.ipv6])
        #expect(try await store.apply([service("a", address: wanted)]) == [.created])
        let addresses = try await self.addresses("a", in: store)
        #expect(addresses.first == chosen && addresses.map(\.family) == [.ipv4, .ipv6])
        #expect(try await store.apply([service("a", address: wanted)]) == [.unchanged])
    }

    @Test func servicesOfAnOlderStoreGetTheFamilyThatTheyLack() async throws {
        let document = { (name: String, address: String) in
            """
            {"apiVersion":"v1","kind":"Service","metadata":{"name":"\(name)","namespace":"shop"},\
            "spec":{\(address)"ports":[{"port":80}],"selector":{"app":"a"}}}
            """
        }
        let chosen = try #require(IPAddress("240.240.0.7"))
        do {
            let store = try self.files.open()
            _ = try await store.apply([
                service("a", json: document("a", "")),
                service("b", json: document("b", "\"clusterIP\":\"240.240.0.7\","), address: .fixed([chosen])),
            ])
        }
        let before: Int64
        do {
            let store = try self.files.open(Self.both)
            #expect(try await self.addresses("a", in: store).map(\.family) == [.ipv4, .ipv6])
            #expect(try await self.addresses("b", in: store) == [chosen])
            before = try await store.snapshot().revision
        }
        // Once is enough.
        #expect(try await self.files.open(Self.both).snapshot().revision == before)
    }
}
