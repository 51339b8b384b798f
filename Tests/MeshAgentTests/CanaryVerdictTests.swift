// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import MeshModel
import Testing

@testable import MeshAgent

@Suite struct CanaryVerdictTests {
    @Test func onlyWhatTheProxySawIsCaptured() {
        #expect(CanaryVerdict(.connected, isSeen: true) == .captured)
        #expect(CanaryVerdict(.failed(errno: ECONNRESET), isSeen: true) == .captured)
        #expect(CanaryVerdict(.connected, isSeen: false).outcome == "alarm")
    }

    @Test(arguments: [ECONNREFUSED, EPERM, EACCES, ECONNRESET])
    func aRefusalIsWell(_ code: CInt) {
        #expect(CanaryVerdict(.failed(errno: code), isSeen: false).outcome == "refused")
    }

    @Test(
        "what was let go is an alarm, whatever stopped it", arguments: [ETIMEDOUT, ENETUNREACH, EHOSTUNREACH, EINVAL])
    func whatWasLetGo(_ code: CInt) {
        #expect(CanaryVerdict(.failed(errno: code), isSeen: false).outcome == "alarm")
        #expect(CanaryVerdict(.failed(errno: code), isSeen: true).outcome == "alarm")
    }

    @Test func aTryThatDidNotWorkIsNoAlarm() {
        #expect(CanaryVerdict(.broken("no fork"), isSeen: false) == .unknown("no fork"))
    }

    private static func snapshot(_ prefixes: [String], taken: [String] = []) -> MeshSnapshot {
        MeshSnapshot(
            settings: MeshSettings(
                trustDomain: "mesh.internal", prefixes: prefixes.compactMap { IPPrefix($0) }, trustBundle: [],
                rootNamespace: "nodemesh-system"), localNode: "n1",
            workloads: taken.map {
                Workload(
                    id: WorkloadID(namespace: "shop", name: "w"), addresses: [$0].compactMap { IPAddress($0) },
                    node: "n1", serviceAccount: "a", trustDomain: "mesh.internal")
            })
    }

    @Test func theTryGoesWhereNobodyIs() {
        let free = Canary.address(in: Self.snapshot(["10.1.0.0/16"]), random: 7)
        #expect(free?.description == "10.1.255.255:7")
        let taken = Canary.address(in: Self.snapshot(["10.1.0.0/16"], taken: ["10.1.255.255"]), random: 7)
        #expect(taken?.description == "10.1.255.254:7")
        let six = Canary.address(in: Self.snapshot(["fd00::/8"]), random: 7)
        #expect(six?.description.hasSuffix("ffff:ffff]:7") == true)
        #expect(Canary.address(in: Self.snapshot([]), random: 7) == nil)
        #expect(Canary.address(in: Self.snapshot(["10.1.0.1/32"]), random: 7) == nil)
    }
}
