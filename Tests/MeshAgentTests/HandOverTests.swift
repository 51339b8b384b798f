// SPDX-License-Identifier: Apache-2.0

import MeshConfiguration
import MeshLinux
import Testing

@testable import MeshAgent

@Suite struct HandOverTests {
    private static func hello(
        protocol number: Int = 1, node: String = "n1", instance: String = "default", formats: ClosedRange<Int> = 2...3,
        abi: UInt32 = 7
    ) -> TakeOverMessage.Hello {
        TakeOverMessage.Hello(
            protocol: number, version: "1.0", node: node, instance: instance, oldestFormat: formats.lowerBound,
            newestFormat: formats.upperBound, abi: abi)
    }

    @Test(arguments: [(1...2, 2), (2...3, 3), (3...9, 3), (2...2, 2)])
    func `the newest format that both know is agreed upon`(_ formats: ClosedRange<Int>, _ agreed: Int) {
        guard case .accepted(let answer) = TakeOverMessage.answer(to: Self.hello(formats: formats), own: Self.hello())
        else {
            Issue.record("refused")
            return
        }
        #expect(answer.format == agreed)
    }

    @Test func `what cannot take over is drained for, what has another place is sent away`() {
        func drains(_ hello: TakeOverMessage.Hello) -> Bool? {
            guard case .refused(_, let drains) = TakeOverMessage.answer(to: hello, own: Self.hello()) else {
                return nil
            }
            return drains
        }
        #expect(drains(Self.hello(formats: 4...5)) == true)
        #expect(drains(Self.hello(formats: 0...1)) == true)
        #expect(drains(Self.hello(abi: 8)) == true)
        #expect(drains(Self.hello(protocol: 2)) == true)
        #expect(drains(Self.hello(node: "n2")) == false)
        #expect(drains(Self.hello(instance: "other")) == false)
        #expect(drains(Self.hello()) == nil)
    }

    @Test func `messages survive their way, anything else is none`() {
        let messages: [TakeOverMessage] = [
            .hello(Self.hello()), .refused(reason: "why", drains: true), .give, .state, .commit, .go,
            .accepted(.init(version: "1", format: 1, cgroup: "/c", environment: ["A": "b"])),
        ]
        for message in messages { #expect(TakeOverMessage.decode(message.encoded()) == message) }
        #expect(TakeOverMessage.decode([]) == nil)
        #expect(TakeOverMessage.decode(Array("{\"shout\":{}}".utf8)) == nil)
    }

    @Test(arguments: [
        ("1 1\n", 1), ("1 3\n", 2), ("2 2", 2), ("3 4\n", nil), ("", nil), ("2 1", nil), ("soon", nil), ("1 2 3", nil),
    ])
    func `the program put in this one's place says what it reads`(_ output: String, _ format: Int?) {
        #expect((try? SuccessorCheck.format(in: output, own: 1...2).get()) == format)
    }

    @Test func `a state of another node, or none at all, is refused with a reason`() throws {
        var configuration = AgentConfiguration(node: "n1")
        configuration.instance = "default"
        func failure(_ label: [UInt8]) throws -> String? {
            let parcel = try Parcel.pack(label: label, UnsafeRawBufferPointer(start: nil, count: 0), [])
            do throws(ParcelError) {
                _ = try Inheritance(opening: parcel, configuration)
                return nil
            } catch {
                return error.description
            }
        }
        let label = HandOverLabel(
            kind: .restart, format: 9, version: "3.0", node: "n2", instance: "default", frozenAt: 1, carried: 0,
            tunnels: 0, listeners: 0, drained: [:])
        #expect(try failure([1, 2, 3]) == "its label cannot be read")
        #expect(try failure(label.encoded()) == "it is of node n2, instance default")
        var own = label
        own.node = "n1"
        #expect(HandOverLabel.decode(own.encoded()) == own)
        #expect(try failure(own.encoded())?.hasPrefix("nodemeshd 3.0 wrote format 9, this one reads") == true)
    }
}
