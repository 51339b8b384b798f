// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Build-time tool: `embed-program CLANG BPF_ROOT SOURCE OUTPUT` compiles one eBPF source file and writes a Swift file
/// that holds the object as a base64 `StaticString` (an array literal of the same size takes minutes to type-check).
@main
enum EmbedProgram {
    static func main() throws {
        let arguments = CommandLine.arguments
        guard arguments.count == 5 else {
            FileHandle.standardError.write(Data("usage: embed-program CLANG BPF_ROOT SOURCE OUTPUT\n".utf8))
            exit(2)
        }
        let (clang, root, source, output) = (arguments[1], arguments[2], arguments[3], arguments[4])
        let object = output + ".o"
        let process = Process()
        process.executableURL = URL(fileURLWithPath: clang)
        process.arguments =
            ["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-D__TARGET_ARCH_\(targetArch)"]
            // Debian keeps asm/ in the multiarch directory, which a bpf target does not search by itself.
            + ["-isystem", "/usr/include/\(multiarch)-linux-gnu"]
            + ["-I", "\(root)/include", "-I", "\(root)/lib", "-c", source, "-o", object]
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { exit(1) }
        defer { try? FileManager.default.removeItem(atPath: object) }

        let words = URL(fileURLWithPath: source).lastPathComponent.dropLast(".bpf.c".count).split(separator: "_")
        // workload_sockops.bpf.c becomes EmbeddedProgram.workloadSockops.
        let name = (words.first ?? "") + words.dropFirst().map(\.capitalized).joined()
        let data = try Data(contentsOf: URL(fileURLWithPath: object))
        let blob = data.base64EncodedString()
        let text = """
            // Generated from \(name).bpf.c. Do not edit.
            extension EmbeddedProgram {
                package static let \(name) = EmbeddedProgram(
                    name: "\(name)", digest: "\(Self.digest(of: data))", base64: "\(blob)")
            }

            """
        try text.write(toFile: output, atomically: true, encoding: .utf8)
    }

    /// Tells builds of a program apart (FNV-1a, 128 bits); it guards against nobody.
    private static func digest(of data: Data) -> String {
        let prime = UInt128(1) << 88 + 0x13b
        var hash = UInt128(0x6c62_272e_07bb_0142) << 64 | 0x62b8_2175_6295_c58d
        for byte in data { hash = (hash ^ UInt128(byte)) &* prime }
        return String(hash, radix: 16)
    }

    #if arch(arm64)
        private static let multiarch = "aarch64"
        private static let targetArch = "arm64"
    #else
        private static let multiarch = "x86_64"
        private static let targetArch = "x86"
    #endif
}
