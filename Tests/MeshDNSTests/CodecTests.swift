// SPDX-License-Identifier: Apache-2.0
import MeshDNS
import MeshModel
import Testing

struct CodecTests {
    @Test(arguments: ["a", "web.shop.mesh.internal", "_http._tcp.web.shop", "A.B.C", "x.y.", "."])
    func namesSurvive(text: String) throws {
        let name = try #require(DNSName(text))
        let shown = text.lowercased()
        #expect(name.description == (shown.count > 1 && shown.hasSuffix(".") ? String(shown.dropLast()) : shown))
    }

    @Test(arguments: [
        "", "..", "a..b", ".a", "ä", "a b", String(repeating: "x", count: 64),
        Array(repeating: "abcdefg", count: 33).joined(separator: "."),
    ])
    func otherTextsAreNoNames(text: String) { #expect(DNSName(text) == nil) }

    @Test func aNameIsWithinItsDomainByLabels() {
        let domain = Messages.name("mesh.internal")
        #expect(
            Messages.name("a.b.Mesh.Internal").labels(within: domain)?.map { String(decoding: $0, as: UTF8.self) } == [
                "a", "b",
            ])
        #expect(Messages.name("mesh.internal").labels(within: domain)?.isEmpty == true)
        #expect(Messages.name("amesh.internal").labels(within: domain) == nil)
        #expect(Messages.name("internal").labels(within: domain) == nil)
    }

    @Test func aQueryIsReadAsItWasWritten() throws {
        var edns = EDNS(size: 4096, wantsSecurity: true)
        edns.options = [0, 8, 0, 4, 0, 1, 0, 0]
        let query = try DNSQuery(Messages.query("wEb.Shop", .aaaa, id: 0xbeef, edns: edns))
        #expect(query.id == 0xbeef && query.question.name == Messages.name("web.shop"))
        #expect(query.question.written == [3] + Array("wEb".utf8) + [4] + Array("Shop".utf8) + [0])
        #expect(query.edns == edns && query.datagramLimit == 4096 && query.hasOptions)
        #expect(!query.isVerbatim && query.isPlain)
    }

    @Test func optionsOfOneHopAreLeftOut() throws {
        var edns = EDNS(size: 1232)
        edns.options = [0, 10, 0, 2, 1, 2, 0, 12, 0, 0, 0, 8, 0, 1, 9, 0, 11, 0, 0]
        #expect(try DNSQuery(Messages.query("a", edns: edns)).edns?.options == [0, 8, 0, 1, 9])
    }

    /// Each a query with something wrong, and what becomes of it.
    static let hostile: [(String, [UInt8], DNSQuery.Fault)] = {
        let good = Messages.query("web.shop", edns: EDNS(size: 1232))
        let header: [UInt8] = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        func with(_ offset: Int, _ value: UInt8) -> [UInt8] {
            var bytes = good
            bytes[offset] = value
            return bytes
        }
        let long = [UInt8](repeating: 63, count: 1) + [UInt8](repeating: 97, count: 63)
        return [
            ("nothing", [], .ignored), ("eleven bytes", Array(good.prefix(11)), .ignored),
            ("an answer", with(2, 0x81), .ignored), ("no question", with(5, 0), .refused(.formatError)),
            ("two questions", with(5, 2), .refused(.formatError)),
            ("many questions", with(4, 255), .refused(.formatError)),
            ("an answer that is not there", with(7, 1), .refused(.formatError)),
            ("more records than bytes", with(10, 255), .refused(.formatError)),
            ("a header alone", header, .refused(.formatError)),
            ("a name that leads to itself", header + [0xc0, 12, 0, 1, 0, 1], .refused(.formatError)),
            ("a name that leads on", header + [0xc0, 14, 0, 0, 1, 0, 1], .refused(.formatError)),
            ("a name that leads into the header", header + [0xc0, 0, 0, 1, 0, 1], .refused(.formatError)),
            ("a label of a reserved kind", header + [0x40, 1, 0, 0, 1, 0, 1], .refused(.formatError)),
            ("a label beyond the end", header + [9, 97, 0, 0, 1], .refused(.formatError)),
            ("no type", header + [1, 97, 0, 0, 1, 0], .refused(.formatError)),
            (
                "a name of more than 255 bytes", header + long + long + long + long + [0, 0, 1, 0, 1],
                .refused(.formatError)
            ),
            (
                "two OPT records",
                with(11, 2) + [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0], .refused(.formatError)
            ),
            (
                "an OPT record with a name",
                with(11, 1).prefix(good.count - 11) + [1, 97, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0],
                .refused(.formatError)
            ),
            (
                "an option longer than its record",
                good.prefix(good.count - 2) + [0, 4, 0, 8, 0, 9], .refused(.formatError)
            ),
            ("EDNS of tomorrow", with(good.count - 5, 1), .refused(.badVersion)),
            ("a zone transfer", Messages.query("shop", .axfr), .refused(.notImplemented)),
        ]
    }()

    @Test(arguments: Self.hostile) func hostileQueriesEnd(what: String, bytes: [UInt8], fault: DNSQuery.Fault) {
        var found: DNSQuery.Fault?
        do throws(DNSQuery.Fault) { _ = try DNSQuery(bytes) } catch { found = error }
        #expect(found == fault, "\(what)")
        if case .refused(let code) = fault {
            let answer = DNSQuery.refusal(of: bytes, code)
            #expect(answer.flatMap { MessageReader($0) }?.flags.contains(.response) == true)
        }
    }

    @Test func everyPrefixAndEveryChangedByteEnds() {
        let messages = [
            Messages.query("web.shop", edns: EDNS(size: 1232)),
            Messages.answer(to: Messages.query("a.b"), addresses: ["192.0.2.1", "2001:db8::1"], negativeTime: 9),
        ]
        for message in messages {
            for end in 0...message.count {
                _ = try? DNSQuery(Array(message.prefix(end)))
                _ = DNSResponse(Array(message.prefix(end)))
            }
            for offset in message.indices {
                for value: UInt8 in [0, 1, 63, 64, 127, 191, 192, 193, 255] {
                    var changed = message
                    changed[offset] = value
                    _ = try? DNSQuery(changed)
                    _ = RecordText.lines(of: changed)
                    guard let response = DNSResponse(changed), let query = try? DNSQuery(messages[0]) else { continue }
                    #expect(response.message(for: query, age: 5, limit: 512).count <= 512)
                }
            }
        }
    }

    @Test func pointersOfManyNamesCostLittle() {
        // Each record's name leads to the one before: as deep as a name may be.
        var bytes: [UInt8] = [0, 7, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, 1, 97, 0, 0, 1, 0, 1]
        var (count, former) = (0, 12)
        while bytes.count < 60_000, former < 0x3fff {
            let start = bytes.count
            bytes += [1, 98, 0xc0 | UInt8(former >> 8), UInt8(former & 255), 0, 1, 0, 1, 0, 0, 0, 9, 0, 0]
            former = start
            count += 1
        }
        bytes[6] = UInt8(count >> 8)
        bytes[7] = UInt8(count & 255)
        // Names get longer than names may be, so it is refused.
        #expect(DNSResponse(bytes) == nil)
    }

    @Test func aPointerLeadsToWhatStandsWholeBeforeIt() throws {
        // A question for "a", and records: a name, and the four bytes of a time to live.
        func answer(_ records: (name: [UInt8], time: [UInt8])...) -> DNSResponse? {
            var bytes: [UInt8] = [0, 7, 0x81, 0x80, 0, 1, 0, UInt8(records.count), 0, 0, 0, 0, 1, 97, 0, 0, 1, 0, 1]
            for record in records { bytes += record.name + [0, 1, 0, 1] + record.time + [0, 0] }
            return DNSResponse(bytes)
        }
        let time: [UInt8] = [0, 0, 0, 9]
        #expect(answer((name: [0xc0, 12], time: time), (name: [1, 98, 0xc0, 12], time: time)) != nil)
        // To itself, forwards, and to a label that goes on beyond the pointer.
        #expect(answer((name: [0xc0, 19], time: time)) == nil)
        #expect(answer((name: [0xc0, 21], time: time)) == nil)
        #expect(answer((name: [0xc0, 18], time: time)) == nil)
        // Into the time to live of the record before, which changes as an answer ages.
        let name = answer((name: [0xc0, 12], time: [1, 98, 0, 0]), (name: [0xc0, 25], time: time))
        #expect(name == nil)
    }

    @Test func anAnswerIsFreedOfWhatWasBetweenTheResolverAndUs() throws {
        let asked = Messages.query("web.Example", id: 99)
        var bytes = Messages.answer(to: asked, addresses: ["192.0.2.1"], time: 60)
        // Something behind the OPT record.
        bytes[11] = 2
        bytes += [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4]
        let response = try #require(DNSResponse(bytes))
        #expect(response.hasEDNS && response.lifetime == 60 && response.code == .noError)
        let query = try DNSQuery(Messages.query("WEB.example", id: 5))
        let seen = try #require(Messages.read(response.message(for: query, age: 20, limit: 512)))
        #expect(seen.id == 5 && seen.addresses == ["192.0.2.1"] && seen.times == [40])
        #expect(seen.written == query.question.written && seen.edns == nil)
        let other = try DNSQuery(Messages.query("web.example", id: 6, edns: EDNS(size: 4096)))
        #expect(Messages.read(response.message(for: other, age: 99, limit: 512))?.edns == 1232)
        #expect(Messages.read(response.message(for: other, age: 99, limit: 512))?.times == [0])
        let cut = try #require(Messages.read(response.message(for: other, age: 0, limit: 40)))
        #expect(cut.isTruncated && cut.addresses.isEmpty && cut.edns == 1232)
    }

    @Test func lifetimesFollowTheRules() {
        let asked = Messages.query("a.b")
        func lifetime(_ code: ResponseCode, _ addresses: [String], _ time: UInt32, _ negative: UInt32?) -> UInt32? {
            DNSResponse(
                Messages.answer(to: asked, code: code, addresses: addresses, time: time, negativeTime: negative))?
                .lifetime
        }
        #expect(lifetime(.noError, ["192.0.2.1"], 60, nil) == 60)
        #expect(lifetime(.noError, ["192.0.2.1"], 0x8000_0000, nil) == 0)
        #expect(lifetime(.noError, ["192.0.2.1"], 9_999_999, nil) == 86_400)
        #expect(lifetime(.noError, [], 0, 30) == 30)
        #expect(lifetime(.nameError, [], 0, 99_999) == 900)
        #expect(lifetime(.nameError, [], 0, nil) == nil)
        #expect(lifetime(.serverFailure, [], 0, 30) == nil)
        let cut = DNSResponse(Messages.answer(to: asked, addresses: ["192.0.2.1"], flags: .truncated))
        #expect(cut?.isTruncated == true && cut?.lifetime == nil)
    }

    @Test func addressesHaveNamesBothWays() throws {
        for text in ["192.0.2.7", "2001:db8::1", "240.240.0.1"] {
            let address = try #require(IPAddress(text))
            let name = try #require(ReverseName.name(of: address))
            #expect(ReverseName.address(of: name) == address)
        }
        #expect(ReverseName.name(of: IPAddress(ipv4: 0xc000_0207))?.description == "7.2.0.192.in-addr.arpa")
        for text in ["2.0.192.in-addr.arpa", "x.2.0.192.in-addr.arpa", "1.ip6.arpa", "7.2.0.192.example"] {
            #expect(ReverseName.address(of: Messages.name(text)) == nil)
        }
    }

    @Test func recordsAreShownInWords() {
        let bytes = Messages.answer(to: Messages.query("a.b"), addresses: ["192.0.2.1"], time: 7)
        #expect(
            RecordText.lines(of: bytes).map { "\($0.name) \($0.timeToLive) \($0.type) \($0.data)" } == [
                "a.b 7 A 192.0.2.1"
            ])
    }
}
