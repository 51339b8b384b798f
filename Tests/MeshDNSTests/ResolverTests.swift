// SPDX-License-Identifier: Apache-2.0
import MeshDNS
import MeshLinux
import MeshModel
import Testing

/// The resolver without sockets: what it wants done, and what it answers.
struct ResolverTests {
    private static let own = Upstream(address: IPAddress(ipv4: 0x0a00_0001), namespace: 42)
    private static let first = Upstream(address: IPAddress(ipv4: 0xc000_0201))
    private static let second = Upstream(address: IPAddress(ipv4: 0xc000_0202))
    private static let time = NameResolver.second

    /// A resolver and what it has opened.
    private struct Bench {
        struct Sent {
            var attempt: UInt64
            var upstream: Upstream
            var isStream: Bool
            var bytes: [UInt8]
        }

        var resolver: NameResolver
        var now: UInt64 = ResolverTests.time
        var sent: [Sent] = []
        var open: Set<UInt64> = []
        var answers: [(client: DNSClient, bytes: [UInt8], report: QueryReport)] = []
        var failures: [UpstreamFailure] = []

        init(_ change: (inout NameResolver.Settings) -> Void = { _ in }, upstreams: [Upstream]? = nil) {
            var settings = NameResolver.Settings()
            change(&settings)
            var ids: UInt16 = 1000
            self.resolver = NameResolver(zone: ZoneTests.zone(), settings: settings) {
                ids += 1
                return ids
            }
            self.resolver.upstreams = upstreams ?? [ResolverTests.first, ResolverTests.second]
        }

        mutating func take(_ actions: [DNSAction]) {
            for action in actions {
                switch action {
                case .answer(let client, let bytes, let report): self.answers.append((client, bytes, report))
                case .open(let attempt, let upstream, let isStream, let bytes):
                    self.sent.append(Sent(attempt: attempt, upstream: upstream, isStream: isStream, bytes: bytes))
                    #expect(self.open.insert(attempt).inserted)
                case .close(let attempt): #expect(self.open.remove(attempt) != nil)
                case .failure(_, let failure): self.failures.append(failure)
                }
            }
        }

        mutating func ask(_ bytes: [UInt8], _ client: UInt64 = 1, of upstream: Upstream? = nil, workload: UInt32 = 7) {
            self.take(
                self.resolver.ask(
                    bytes, from: .datagram(socket: client, peer: Endpoint(ipv4: 1, port: 1)),
                    by: Asker(workload: workload, resolver: upstream), now: self.now))
        }

        mutating func receive(_ bytes: [UInt8], at index: Int) {
            self.take(self.resolver.received(bytes, attempt: self.sent[index].attempt, now: self.now))
        }

        mutating func fail(_ index: Int) {
            self.take(self.resolver.failed(attempt: self.sent[index].attempt, now: self.now))
        }

        mutating func pass(_ seconds: Double) {
            self.now += UInt64(seconds * 1e9)
            self.take(self.resolver.expire(now: self.now))
        }

        var seen: Messages.Seen? { self.answers.last.flatMap { Messages.read($0.bytes) } }
        var source: QueryReport.Source? { self.answers.last?.report.source }
        func isQuiet() -> Bool { self.open.isEmpty && self.resolver.waitingCount == 0 }
    }

    @Test func theMeshsNamesAreAnsweredAtOnce() {
        var bench = Bench()
        bench.ask(Messages.query("web.shop.mesh.internal", id: 9))
        #expect(bench.sent.isEmpty && bench.seen?.addresses == ["240.240.0.1"] && bench.source == .local)
        bench.ask(Messages.query("web.shop.mesh.internal", flags: []))
        #expect(bench.sent.isEmpty && bench.seen?.addresses == ["240.240.0.1"])
    }

    @Test func othersAreAskedOnceAndRemembered() {
        var bench = Bench()
        bench.ask(Messages.query("Example.org", id: 9), 1)
        bench.ask(Messages.query("example.ORG", id: 10, edns: EDNS(size: 4096)), 2)
        #expect(bench.sent.count == 1 && bench.sent[0].upstream == Self.first && !bench.sent[0].isStream)
        #expect(Messages.id(bench.sent[0].bytes) == 1001)
        bench.receive(Messages.answer(to: bench.sent[0].bytes, addresses: ["192.0.2.9"], time: 30), at: 0)
        #expect(bench.answers.count == 2 && bench.isQuiet())
        let seen = bench.answers.compactMap { Messages.read($0.bytes) }
        #expect(seen.map(\.id) == [9, 10] && seen.allSatisfy { $0.addresses == ["192.0.2.9"] })
        #expect(seen[0].edns == nil && seen[1].edns == 1232 && seen[0].written[1] == 69)
        bench.pass(10)
        bench.ask(Messages.query("example.org", id: 11))
        #expect(bench.sent.count == 1 && bench.source == .cache && bench.seen?.times == [20])
        bench.pass(21)
        bench.ask(Messages.query("example.org"))
        #expect(bench.sent.count == 2)
    }

    @Test func whatTheWorkloadAskedComesFirst() {
        var bench = Bench()
        bench.ask(Messages.query("private.example"), of: Self.own)
        #expect(bench.sent.map(\.upstream) == [Self.own])
        bench.receive(Messages.answer(to: bench.sent[0].bytes, addresses: ["10.9.9.9"]), at: 0)
        #expect(bench.seen?.addresses == ["10.9.9.9"])
        // Another resolver may know another answer.
        bench.ask(Messages.query("private.example"))
        #expect(bench.sent.map(\.upstream) == [Self.own, Self.first])
    }

    @Test func aResolverThatIsNotThereIsFollowedByTheNext() {
        var bench = Bench()
        bench.ask(Messages.query("example.org"), of: Self.own)
        bench.fail(0)
        #expect(bench.sent.map(\.upstream) == [Self.own, Self.first] && bench.failures == [.network])
        bench.receive(Messages.answer(to: bench.sent[1].bytes, addresses: ["192.0.2.9"]), at: 1)
        #expect(bench.source == .upstream && bench.isQuiet())
        // It is down for a while: the node's are asked first, and what they said is remembered as theirs.
        bench.ask(Messages.query("example.org"), of: Self.own)
        #expect(bench.source == .cache && bench.sent.count == 2)
        bench.ask(Messages.query("example.net"), of: Self.own)
        #expect(bench.sent.last?.upstream == Self.first)
        bench.pass(15)
        bench.ask(Messages.query("example.com"), of: Self.own)
        #expect(bench.sent.last?.upstream == Self.own)
    }

    @Test func silenceHasItsTimeAndLateAnswersCount() {
        var bench = Bench()
        bench.ask(Messages.query("slow.example"), of: Self.own)
        bench.pass(1.9)
        #expect(bench.sent.count == 1)
        bench.pass(0.2)
        #expect(bench.sent.map(\.upstream) == [Self.own, Self.first] && bench.open.count == 2)
        bench.receive(Messages.answer(to: bench.sent[0].bytes, addresses: ["192.0.2.1"]), at: 0)
        #expect(bench.seen?.addresses == ["192.0.2.1"] && bench.isQuiet() && bench.failures == [.timeout])
        bench.pass(10)
        #expect(bench.answers.count == 1)
    }

    @Test func withoutAnyAnswerItFails() {
        var bench = Bench()
        bench.ask(Messages.query("dead.example", id: 5))
        for _ in 0..<10 { bench.pass(0.5) }
        #expect(bench.seen?.code == ResponseCode.serverFailure.rawValue && bench.seen?.id == 5)
        #expect(bench.source == QueryReport.Source.none && bench.isQuiet())
        #expect(bench.now - Self.time <= 5 * Self.time && bench.sent.count >= 4)
    }

    @Test func whatIsRememberedServesBeyondItsTime() {
        var bench = Bench()
        bench.ask(Messages.query("old.example"))
        bench.receive(Messages.answer(to: bench.sent[0].bytes, addresses: ["192.0.2.9"], time: 1), at: 0)
        bench.pass(60)
        bench.ask(Messages.query("old.example"))
        var index = 1
        while index < bench.sent.count {
            bench.fail(index)
            index += 1
        }
        #expect(bench.source == .stale && bench.seen?.addresses == ["192.0.2.9"])
        #expect((bench.seen?.times.first ?? 99) <= 30 && bench.isQuiet())
    }

    @Test func falseAnswersAreNotTaken() {
        var bench = Bench()
        bench.ask(Messages.query("example.org"))
        let query = bench.sent[0].bytes
        for wrong in [
            Messages.answer(to: query, addresses: ["6.6.6.6"], id: 1),
            Messages.answer(to: Messages.query("evil.example", id: Messages.id(query)), addresses: ["6.6.6.6"]),
            Messages.answer(to: Messages.query("example.org", .aaaa, id: Messages.id(query)), addresses: ["6.6.6.6"]),
            query, [], [UInt8](repeating: 255, count: 40),
            Array(Messages.answer(to: query, addresses: ["6.6.6.6"]).dropLast(3)),
        ] {
            bench.receive(wrong, at: 0)
        }
        #expect(bench.answers.isEmpty && bench.failures.count == 7 && bench.failures.allSatisfy { $0 == .mismatch })
        bench.receive(Messages.answer(to: query, addresses: ["192.0.2.9"]), at: 0)
        #expect(bench.seen?.addresses == ["192.0.2.9"])
    }

    @Test func failuresMoveOnAndTheLastOneIsTold() {
        var bench = Bench()
        bench.ask(Messages.query("broken.example"))
        var index = 0
        while index < bench.sent.count {
            let code: ResponseCode = index.isMultiple(of: 2) ? .serverFailure : .refused
            bench.receive(Messages.answer(to: bench.sent[index].bytes, code: code), at: index)
            index += 1
        }
        #expect(index == 4 && bench.seen?.code == ResponseCode.refused.rawValue && bench.isQuiet())
        #expect(bench.failures == [.serverFailure, .refused, .serverFailure, .refused])
    }

    @Test func aResolverOlderThanEDNSIsAskedWithout() {
        var bench = Bench()
        bench.ask(Messages.query("example.org"))
        #expect(Messages.read(bench.sent[0].bytes)?.edns == 1232)
        bench.receive(Messages.answer(to: bench.sent[0].bytes, code: .formatError, edns: nil), at: 0)
        #expect(bench.sent.count == 2 && bench.sent[1].upstream == Self.first)
        #expect(Messages.read(bench.sent[1].bytes)?.edns == nil)
        bench.receive(Messages.answer(to: bench.sent[1].bytes, addresses: ["192.0.2.9"], edns: nil), at: 1)
        #expect(bench.seen?.addresses == ["192.0.2.9"])
        bench.ask(Messages.query("example.net"))
        #expect(Messages.read(bench.sent[2].bytes)?.edns == nil)
    }

    @Test func truncationIsPassedOnAndTCPIsAskedByTCP() {
        var bench = Bench()
        bench.ask(Messages.query("big.example"))
        bench.receive(Messages.answer(to: bench.sent[0].bytes, flags: .truncated), at: 0)
        #expect(bench.seen?.isTruncated == true)
        bench.take(
            bench.resolver.ask(
                Messages.query("big.example"), from: .stream(5), by: Asker(workload: 7, resolver: nil), now: bench.now))
        #expect(bench.sent.count == 2 && bench.sent[1].isStream)
        let many = (0..<100).map { "192.0.2.\($0)" }
        bench.receive(Messages.answer(to: bench.sent[1].bytes, addresses: many), at: 1)
        #expect(bench.seen?.addresses.count == 100)
        // It is remembered, and too long for datagrams.
        bench.ask(Messages.query("big.example"))
        #expect(
            bench.source == .cache && bench.seen?.isTruncated == true && bench.answers.last?.bytes.count ?? 999 < 512)
    }

    @Test func absenceIsRememberedByItsAuthority() {
        var bench = Bench()
        bench.ask(Messages.query("none.example"))
        bench.receive(Messages.answer(to: bench.sent[0].bytes, code: .nameError, negativeTime: 20), at: 0)
        bench.pass(19)
        bench.ask(Messages.query("none.example"))
        #expect(bench.source == .cache && bench.seen?.code == ResponseCode.nameError.rawValue)
        bench.ask(Messages.query("none.example", .aaaa))
        bench.receive(Messages.answer(to: bench.sent[1].bytes), at: 1)
        bench.ask(Messages.query("none.example", .aaaa))
        // Without an authority it is not.
        #expect(bench.sent.count == 3)
    }

    @Test func wishesReachTheResolver() throws {
        var bench = Bench()
        var edns = EDNS(size: 4096, wantsSecurity: true)
        edns.options = [0, 8, 0, 1, 9]
        bench.ask(Messages.query("example.org", edns: edns, flags: [.recursionDesired, .checkingDisabled]))
        let sent = try DNSQuery(bench.sent[0].bytes)
        #expect(sent.edns?.size == 1232 && sent.edns?.wantsSecurity == true && sent.edns?.options == edns.options)
        #expect(sent.flags == [.recursionDesired, .checkingDisabled])
        // Options may make another answer: it is not remembered.
        bench.receive(Messages.answer(to: bench.sent[0].bytes, addresses: ["192.0.2.9"]), at: 0)
        bench.ask(Messages.query("example.org", edns: edns))
        #expect(bench.sent.count == 2 && bench.resolver.cache.count == 0)
    }

    @Test func whatIsNoQuestionToOthersGoesToWhomItIsFor() {
        var bench = Bench()
        let update = Messages.query("example.org", .soa, id: 77, flags: MessageFlags(rawValue: 5 << 11))
        bench.ask(update)
        #expect(bench.sent.isEmpty && bench.seen?.code == ResponseCode.notImplemented.rawValue)
        bench.ask(update, of: Self.own)
        #expect(bench.sent.count == 1 && bench.sent[0].bytes == update && bench.sent[0].upstream == Self.own)
        let answer = Messages.answer(to: update, edns: nil)
        bench.receive(answer, at: 0)
        #expect(bench.answers.last?.bytes == answer && bench.isQuiet())
        bench.ask(Messages.query("example.org", flags: []), of: Self.own)
        bench.fail(1)
        #expect(bench.sent.count == 2 && bench.seen?.code == ResponseCode.serverFailure.rawValue)
    }

    @Test func nobodyWaitsBeyondTheLimits() {
        var bench = Bench({
            $0.workloadLimit = 3
            $0.limit = 5
        })
        for index in 0..<5 { bench.ask(Messages.query("n\(index).example"), workload: 7) }
        #expect(bench.answers.count == 2 && bench.answers.allSatisfy(\.report.isLimited))
        for index in 0..<5 { bench.ask(Messages.query("m\(index).example"), workload: 8) }
        #expect(bench.resolver.waitingCount == 5 && bench.answers.count == 5)
        bench.ask(Messages.query("web.shop.mesh.internal"), workload: 7)
        #expect(bench.source == .local)
        for index in bench.sent.indices {
            bench.receive(Messages.answer(to: bench.sent[index].bytes, addresses: ["192.0.2.1"]), at: index)
        }
        #expect(bench.isQuiet())
        bench.ask(Messages.query("again.example"), workload: 7)
        #expect(bench.resolver.waitingCount == 1)
    }

    /// A resolver of the node that is a workload itself, and so asks here what it is asked.
    @Test func aLoopEndsByItself() {
        var bench = Bench(upstreams: [Self.first])
        bench.ask(Messages.query("round.example"), 1)
        for _ in 0..<50 {
            guard let last = bench.sent.last else { break }
            bench.ask(Messages.query("round.example", id: Messages.id(last.bytes)), 2, workload: 9)
        }
        #expect(bench.sent.count == 1)
        for _ in 0..<12 { bench.pass(0.5) }
        #expect(bench.isQuiet() && bench.answers.count == 51 && bench.sent.count <= 3)
    }

    @Test func withoutResolversOthersFail() {
        var bench = Bench(upstreams: [])
        bench.ask(Messages.query("example.org"))
        #expect(bench.seen?.code == ResponseCode.serverFailure.rawValue && bench.isQuiet())
    }

    @Test func badQueriesAreRefused() {
        var bench = Bench()
        bench.ask([1, 2, 3])
        #expect(bench.answers.isEmpty)
        bench.ask([0, 7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        #expect(bench.answers.last?.report.code == .formatError && bench.answers.last?.report.type == nil)
        bench.ask(Messages.query("example.org", .axfr))
        #expect(bench.answers.last?.report.code == .notImplemented)
    }
}
