// SPDX-License-Identifier: Apache-2.0

import Foundation
import PackagePlugin

/// Compiles every `bpf/programs/*.bpf.c` with the toolchain's clang and embeds the object as a base64 string constant.
@main
struct EmbedPrograms: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
        let root = context.package.directoryURL.appending(path: "bpf")
        let files = FileManager.default
        let programs = root.appending(path: "programs").path()
        let names = files.fileExists(atPath: programs) ? try files.contentsOfDirectory(atPath: programs).sorted() : []
        let headers = try ["include", "lib"].flatMap { folder -> [URL] in
            let url = root.appending(path: folder)
            guard files.fileExists(atPath: url.path()) else { return [] }
            return try files.contentsOfDirectory(atPath: url.path()).filter { $0.hasSuffix(".h") }
                .map { url.appending(path: $0) }
        }
        let clang = try context.tool(named: "clang").url
        let embed = try context.tool(named: "embed-program").url
        return names.filter { $0.hasSuffix(".bpf.c") }.map { name in
            let source = root.appending(path: "programs").appending(path: name)
            let base = name.dropLast(".bpf.c".count)
            let output = context.pluginWorkDirectoryURL.appending(path: "\(base).swift")
            return .buildCommand(
                displayName: "Compiling eBPF program \(name)",
                executable: embed,
                arguments: [clang.path(), root.path(), source.path(), output.path()],
                inputFiles: [source] + headers,
                outputFiles: [output])
        }
    }
}
