// SPDX-License-Identifier: Apache-2.0
@preconcurrency import Glibc
import MeshLinux

/// Drives the real proxy over kernel TLS, in a machine whose kernel has it: see `Tools/vm`. Prints a line per scenario,
/// `ok NAME` or `FAILED NAME: why`, and ends with 1 if one failed.
///
///     tunnel-vmtest [NAME…]        all scenarios, or those whose names begin so
@main
struct Main {
    typealias Scenario = (name: String, body: @Sendable () async throws -> String)

    static func main() async {
        setvbuf(Glibc.stdout, nil, _IOLBF, 0)
        signal(SIGPIPE, SIG_IGN)
        if CommandLine.arguments.count == 3, CommandLine.arguments[1] == MortalMesh.role {
            do { try await MortalMesh.serve(CommandLine.arguments[2]) } catch {
                print("# \(MortalMesh.role): \(error)")
            }
            exit(0)
        }
        let wanted = CommandLine.arguments.dropFirst()
        var failures = 0
        var scenarios =
            Traps.all + Relays.all + Endings.all + HandOvers.all + Crashes.all + Fallbacks.all + SystemCalls.all
        if wanted.contains("without") { scenarios = Fallbacks.absent }
        for scenario in scenarios {
            if !wanted.isEmpty, !wanted.contains(where: { scenario.name.hasPrefix($0) }) { continue }
            let start = Clock.monotonic
            do {
                let note = try await scenario.body()
                let time = (Clock.monotonic - start) / 1_000_000
                print("ok \(scenario.name) (\(time) ms)\(note.isEmpty ? "" : ": \(note)")")
            } catch {
                failures += 1
                print("FAILED \(scenario.name): \(error) [a | b: \(Mesh.diagnosis)]")
            }
        }
        print("\(failures) failed")
        exit(failures == 0 ? 0 : 1)
    }
}
