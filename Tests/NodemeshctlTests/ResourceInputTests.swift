// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import MeshCLI
import Testing

struct ResourceInputTests {
    private func input(_ files: (String, String)...) throws -> ResourceInput {
        var input = ResourceInput()
        for (name, text) in files { try input.append(Data(text.utf8), from: name) }
        return input
    }

    private func place(_ input: ResourceInput, document: Int, line: Int?) -> String {
        input.place(of: ResourceProblem(document: document, line: line, path: "", reason: ""))
    }

    @Test func joinsFilesAndFindsTheirLinesAgain() throws {
        let input = try self.input(
            ("a.yaml", "# first\na: 1\n---\nb: 2"), ("b.yaml", "---\nc: 3\n"), ("c.json", "{\"d\":\n 4}"))
        #expect(
            String(decoding: input.body, as: UTF8.self)
                == "# first\na: 1\n---\nb: 2\n---\nc: 3\n---\n{\"d\":\n 4}\n")
        #expect(self.place(input, document: 1, line: 2) == "a.yaml:2")
        #expect(self.place(input, document: 2, line: 4) == "a.yaml:4")
        #expect(self.place(input, document: 3, line: 6) == "b.yaml:2")
        #expect(self.place(input, document: 4, line: 8) == "c.json:1")
        #expect(self.place(input, document: 4, line: 9) == "c.json:2")
    }

    @Test func findsDocumentsWithoutALine() throws {
        let input = try self.input(("a.yaml", "\n# c\na: |\n  ---\n---\nb: 2\n...\n"), ("b.yaml", "c: 3"))
        #expect(self.place(input, document: 1, line: nil) == "a.yaml:3")
        #expect(self.place(input, document: 2, line: nil) == "a.yaml:5")
        #expect(self.place(input, document: 3, line: nil) == "b.yaml:1")
        #expect(self.place(input, document: 9, line: nil) == "document 9")
    }

    @Test func leavesOutWhatHoldsNoDocument() throws {
        let input = try self.input(("empty.yaml", ""), ("comment.yaml", "# only\n\n"), ("a.yaml", "a: 1"))
        #expect(String(decoding: input.body, as: UTF8.self) == "a: 1\n")
        #expect(try self.input(("empty.yaml", "\n")).isEmpty)
    }

    @Test func endsADocumentBeforeADirective() throws {
        let input = try self.input(("a.yaml", "a: 1\n"), ("b.yaml", "%YAML 1.2\n---\nb: 2\n"))
        #expect(String(decoding: input.body, as: UTF8.self) == "a: 1\n...\n%YAML 1.2\n---\nb: 2\n")
        #expect(self.place(input, document: 2, line: nil) == "b.yaml:2")
    }

    @Test func aFaultInASeparatorBelongsToTheFileBefore() throws {
        let input = try self.input(("a.yaml", "a: [1\n"), ("b.yaml", "b: 2\n"))
        #expect(self.place(input, document: 1, line: 2) == "a.yaml:1")
    }

    @Test func dropsAByteOrderMark() throws {
        #expect(String(decoding: try self.input(("a", "\u{feff}a: 1\r\n")).body, as: UTF8.self) == "a: 1\r\n")
    }

    @Test func refusesWhatIsNotText() {
        var input = ResourceInput()
        #expect(throws: CLIError.self) { try input.append(Data([0xff, 0xfe, 0x00]), from: "x") }
        #expect(throws: CLIError.self) {
            try input.append(Data(repeating: 0x20, count: ResourceInput.limit + 1), from: "big")
        }
    }

    @Test func readsADirectoryInOrderOfNames() throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "nodemeshctl-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        for (name, text) in [("b.yml", "b: 2"), ("a.yaml", "a: 1"), ("notes.txt", "x"), (".hidden.yaml", "h: 0")] {
            try Data(text.utf8).write(to: directory.appending(path: name))
        }
        let input = try ResourceFiles.read([directory.path, "-"], console: CapturingConsole(input: "{}"))
        #expect(String(decoding: input.body, as: UTF8.self) == "a: 1\n---\nb: 2\n---\n{}\n")
    }

    @Test func saysWhatIsMissing() {
        let console = CapturingConsole()
        #expect(throws: CLIError("/nowhere/x.yaml: no such file or directory", status: .notFound)) {
            try ResourceFiles.read(["/nowhere/x.yaml"], console: console)
        }
        #expect(throws: CLIError.self) { try ResourceFiles.read(["-"], console: console) }
        #expect(throws: CLIError.self) { try ResourceFiles.read(["-", "-"], console: console) }
    }
}
