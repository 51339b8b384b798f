// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshCLI
import Testing

struct TextFormTests {
    @Test(arguments: [
        (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (1_048_575, "1.0 MiB"),
        (1_048_576, "1.0 MiB"), (5_368_709_120, "5.0 GiB"), (UInt64.max, "16.0 EiB"),
    ])
    func bytes(count: UInt64, expected: String) { #expect(Human.bytes(count) == expected) }

    @Test(arguments: [
        (-5, "0s"), (0, "0s"), (0.31, "0.3s"), (9.96, "10s"), (59, "59s"), (60, "1m00s"), (312, "5m12s"),
        (7500, "2h05m"), (273_600, "3d4h"), (.infinity, "forever"), (.nan, "0s"),
    ])
    func duration(seconds: Double, expected: String) { #expect(Human.duration(seconds) == expected) }

    @Test func indentsJSONWithoutTouchingValues() {
        let body = #"{"a":18446744073709551615,"b":[],"c":{},"d":"{\"x\":[1,2]}","e":[1.10,{"f":null}]}"#
        #expect(
            JSONText.indented(Data(body.utf8)) == #"""
                {
                  "a": 18446744073709551615,
                  "b": [],
                  "c": {},
                  "d": "{\"x\":[1,2]}",
                  "e": [
                    1.10,
                    {
                      "f": null
                    }
                  ]
                }

                """#)
    }

    @Test(arguments: ["", "}}}}", "\"unfinished", "[[[[", "\\", "plain"])
    func indentsWhatIsNotJSONWithoutTrapping(text: String) { _ = JSONText.indented(Data(text.utf8)) }

    @Test func writesYAMLThatReadsBackTheSame() throws {
        let body =
            #"{"kind":"Service","apiVersion":"v1","spec":{"text":"8080","flag":"true","none":null,"empty":[],"#
            + #""port":8080,"big":18446744073709551615,"ratio":0.5},"metadata":{"name":"web"}}"#
        #expect(
            try YAMLText.text(Data(body.utf8)) == """
                apiVersion: v1
                kind: Service
                metadata:
                  name: web
                spec:
                  big: 18446744073709551615
                  empty: []
                  flag: 'true'
                  none: null
                  port: 8080
                  ratio: 5e-1
                  text: '8080'

                """)
    }

    @Test func writesAListAsDocumentsWhereApplyShouldTakeItBack() throws {
        #expect(try YAMLText.text(Data(#"[{"a":1},{"a":2}]"#.utf8), asDocuments: true) == "---\na: 1\n---\na: 2\n")
    }

    @Test func refusesToWriteYAMLOfWhatIsNotJSON() {
        #expect(throws: CLIError.self) { try YAMLText.text(Data("<html>".utf8)) }
    }
}
