// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Finds and reads what `-f` names: files, directories, or `-` for standard input.
package enum ResourceFiles {
    private static let extensions = ["yaml", "yml", "json"]

    package static func read(_ names: [String], console: any Console) throws(CLIError) -> ResourceInput {
        var input = ResourceInput()
        guard names.count(where: { $0 == "-" }) <= 1 else {
            throw CLIError("standard input can be read once only", status: .usage)
        }
        for name in names {
            if name == "-" {
                try input.append(try console.readInput(limit: ResourceInput.limit), from: "standard input")
                continue
            }
            for path in try Self.files(at: name) { try input.append(try Self.contents(of: path), from: path) }
        }
        guard !input.isEmpty else {
            throw CLIError("no resource in \(names.joined(separator: ", "))", hints: ["Nothing was sent."])
        }
        return input
    }

    /// The file itself, or the resource files directly inside the directory, in order of their names.
    private static func files(at path: String) throws(CLIError) -> [String] {
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
            throw CLIError("\(path): no such file or directory", status: .notFound)
        }
        guard isDirectory.boolValue else { return [path] }
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: path)
        } catch {
            throw CLIError("\(path): cannot list the directory: \(error.localizedDescription)")
        }
        let chosen = names.filter { name in
            !name.hasPrefix(".") && Self.extensions.contains(where: { name.hasSuffix(".\($0)") })
        }
        guard !chosen.isEmpty else {
            throw CLIError(
                "\(path): no .yaml, .yml or .json file in the directory",
                hints: ["Directories inside it are not looked into."])
        }
        return chosen.sorted().map { path.hasSuffix("/") ? path + $0 : "\(path)/\($0)" }
    }

    private static func contents(of path: String) throws(CLIError) -> Data {
        do {
            let handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
            // One byte more than allowed, so that the limit is noticed and a device without end is not read for ever.
            return try handle.read(upToCount: ResourceInput.limit + 1) ?? Data()
        } catch {
            throw CLIError("\(path): cannot read: \(error.localizedDescription)")
        }
    }
}
