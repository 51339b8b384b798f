// SPDX-License-Identifier: Apache-2.0

import MeshCLI
import Testing

struct TableTests {
    @Test func alignsColumnsAndPadsNothingAtTheEnd() {
        let table = Table(
            columns: ["NAME", Column("BYTES", .right), "STATE"],
            rows: [["web", "1.5 KiB", "established"], ["a-longer-name", "7 B", Cell(nil)]])
        #expect(
            table.text() == """
                NAME             BYTES  STATE
                web            1.5 KiB  established
                a-longer-name      7 B  -

                """)
    }

    @Test func keepsLongWordsWhole() {
        let word = String(repeating: "x", count: 500)
        #expect(Table(columns: ["A", "B"], rows: [[Cell(word), "b"]]).text().contains("\(word)  b\n"))
    }

    @Test func showsWideColumnsOnlyWhenAsked() {
        let table = Table(columns: ["A", Column("B", isWide: true), "C"], rows: [["1", "2", "3"]])
        #expect(table.text() == "A  C\n1  3\n")
        #expect(table.text(wide: true) == "A  B  C\n1  2  3\n")
    }

    @Test func coloursDoNotCountAsWidth() {
        let table = Table(columns: ["", ""], rows: [[Cell("ok", .good), "x"], ["long", "y"]])
        #expect(table.text(color: true) == "\u{1b}[32mok\u{1b}[0m    x\nlong  y\n")
        #expect(table.text() == "ok    x\nlong  y\n")
    }

    @Test(arguments: [
        ("plain text", "plain text"), ("\u{1b}[31mred", #"\u{1B}[31mred"#), ("two\nlines", #"two\nlines"#),
        ("bidi \u{202e}", #"bidi \u{202E}"#), ("Zürich", "Zürich"),
    ])
    func makesTextSafeForATerminal(text: String, expected: String) {
        #expect(Cell(text).text == expected)
    }
}
