// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import CMeshABI
import Foundation
import Glibc
import MeshPrograms
import Testing

@testable import MeshSteering

extension KernelTests {
    @Suite struct Programs {
        /// Every file of bpf/programs but the maps.
        static let all: [EmbeddedProgram] = [
            .connect4, .connect6, .getpeername4, .getpeername6, .getsockopt, .guard4, .guard6, .inbound, .probeSockops,
            .proxySockops, .recvmsg4, .recvmsg6, .redirect, .sendmsg4, .sendmsg6, .sockmap, .workloadSockops,
        ]
        /// One of them has to load: some kernels take no programs behind their functions, older ones lack the tracepoint.
        static let readCounters: [EmbeddedProgram] = [.taken, .received]
        /// What the verifier of any kernel since 5.2 walks through before it gives up is a million; a program that comes
        /// near it passes one kernel and fails the next.
        static let mostVerified: UInt32 = 250_000

        @Test func noProgramIsForgottenHere() throws {
            let directory = URL(filePath: #filePath).appending(path: "../../../bpf/programs").standardized
            let files = try FileManager.default.contentsOfDirectory(atPath: directory.path())
            let names = files.filter { $0.hasSuffix(".bpf.c") && $0 != "maps.bpf.c" }.map { file in
                let words = file.dropLast(".bpf.c".count).split(separator: "_")
                return words.prefix(1).joined() + words.dropFirst().map(\.capitalized).joined()
            }
            #expect(Set(names) == Set((Self.all + Self.readCounters).map(\.name)))
        }

        /// Prints `verifier: PROGRAM INSTRUCTIONS VERIFIED BYTES` of each, for those who watch what a change costs.
        @Test func theVerifierAcceptsEveryProgram() throws {
            try Sandbox.run(isEnrolled: false) { sandbox in
                var kernel = utsname()
                uname(&kernel)
                let release = withUnsafeBytes(of: &kernel.release) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
                print("verifier: kernel \(release)")
                let counters = Self.readCounters.filter { counter in
                    (try? ProgramLoader.load(counter, maps: sandbox.steering.maps, config: nm_config())) != nil
                }
                #expect(!counters.isEmpty)
                for embedded in Self.all + counters {
                    let program = try ProgramLoader.load(
                        embedded, maps: sandbox.steering.maps, config: nm_config(sandbox.steering.configuration))
                    let info = try self.info(program.raw)
                    print(
                        "verifier: \(embedded.name.padding(toLength: 20, withPad: " ", startingAt: 0))",
                        "\(info.xlated_prog_len / 8) instructions, \(info.verified_insns) verified,",
                        "\(info.jited_prog_len) bytes")
                    #expect(info.verified_insns > 0 && info.verified_insns < Self.mostVerified)
                    #expect(info.jited_prog_len > 0, "\(embedded.name) is interpreted")
                }
            }
        }

        private func info(_ program: CInt) throws -> bpf_prog_info {
            var (info, size) = (bpf_prog_info(), UInt32(MemoryLayout<bpf_prog_info>.size))
            try #require(bpf_obj_get_info_by_fd(program, &info, &size) == 0)
            return info
        }
    }
}
