// SPDX-License-Identifier: Apache-2.0

import MeshCLI
import Testing

struct ValuesTests {
    @Test(arguments: [("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86400), ("1h30m", 5400), ("366d", 31_622_400)])
    func readsDurations(text: String, seconds: Int) throws { #expect(try Values.duration(text) == seconds) }

    @Test(arguments: ["", "15", "m", "0s", "-5m", "1.5h", "15M", "367d", "99999999999999999999s", "5m ", "٣m"])
    func refusesDurations(text: String) { #expect(throws: (any Error).self) { try Values.duration(text) } }

    @Test(arguments: [
        ("10.0.0.7:5432", "10.0.0.7:5432"), ("[fd00::1]:80", "[fd00::1]:80"), ("web:80", "web.shop.mesh.internal:80"),
        ("web.other:80", "web.other.mesh.internal:80"), ("web.other.mesh.internal:80", "web.other.mesh.internal:80"),
        ("db.example.com:1", "db.example.com:1"),
    ])
    func completesDestinations(text: String, expected: String) throws {
        #expect(try Values.destination(text, from: "shop") == expected)
    }

    @Test(arguments: [
        "", "web", "web:", "web:0", "web:65536", "web:+80", ":80", "fd00::1:80", "10.0.0.300:80", "10.0.0.1:0",
        "we b:80", "WEB:80", "web..x:80", ".web:80", "-w:80", "web:80:90", "[::1:80", "web/x:80",
    ])
    func refusesDestinations(text: String) {
        #expect(throws: (any Error).self) { try Values.destination(text, from: "shop") }
    }

    @Test(arguments: ["", "a", "a/", "/b", "a/b/c", "A/b", "a/b_c", "a/-b"])
    func refusesWorkloads(text: String) { #expect(throws: (any Error).self) { try Values.workload(text) } }

    @Test(arguments: ["", "=x", "app"])
    func refusesLabels(text: String) { #expect(throws: (any Error).self) { try Values.keyValue(text) } }

    @Test func aLabelMayHoldAnEqualsSign() throws {
        #expect(try Values.keyValue("a=b=c") == Values.Pair(key: "a", value: "b=c"))
        #expect(try Values.keyValue("a=") == Values.Pair(key: "a", value: ""))
    }

    @Test(arguments: [
        "http://127.0.0.1:15080", "http://127.0.0.1:15080/", "https://control.example:15080", "http://[::1]:1",
    ])
    func takesControlPlaneURLs(text: String) throws { _ = try ControlPlaneURL(text) }

    @Test(arguments: [
        "", "127.0.0.1:15080", "ftp://a", "http://", "http://a/v1", "http://a?x", "http://u:p@a", "http://a b",
    ])
    func refusesControlPlaneURLs(text: String) { #expect(throws: CLIError.self) { try ControlPlaneURL(text) } }
}
