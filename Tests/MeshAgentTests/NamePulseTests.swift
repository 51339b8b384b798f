// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshAgent
import MeshDNS
import MeshLinux
import Testing

@Suite struct NamePulseTests {
    @Test func `a thread for names that is stuck is named, and one that was stopped is not`() async throws {
        let (reached, goOn) = (Semaphore(), Semaphore())
        let hooks = NameServerHooks(
            datagramOrigin: { _, _, _, _ in nil }, streamOrigin: { _ in nil },
            nodeResolvers: {
                reached.signal()
                goOn.wait()
                return []
            }, onAnswer: { _, _ in }, onAttempt: { _ in }, onFailure: { _, _ in })
        let domain = try #require(DNSName("mesh.internal"))
        let server = try NameServer(
            configuration: NameServerConfiguration(ports: [1], domain: domain, aliases: [], timeToLive: 5),
            hooks: hooks, logger: Logger(label: "names"))
        try server.start()
        let check = PulseCheck([.init("nm-names", ask: server.ping)])
        #expect(await check.silent(after: .seconds(60)) == [])
        // The thread looks for its resolvers before it answers the first question.
        let lookup = Task {
            await server.lookup(DNSQuestion(name: domain, type: .a), by: Asker(workload: 0, resolver: nil))
        }
        try await onThread { reached.wait() }
        #expect(await check.silent(after: .milliseconds(1)) == ["nm-names"])
        goOn.signal()
        #expect(await check.silent(after: .seconds(60)) == [])
        _ = await lookup.value
        server.stop()
        #expect(await check.silent(after: .seconds(60)) == [])
    }

    private func onThread(_ body: @escaping @Sendable () -> Void) async throws {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            do throws(SystemError) {
                let thread = try OSThread(name: "test") {
                    body()
                    continuation.resume()
                }
                thread.detach()
            } catch {
                continuation.resume(throwing: error)
            }
        }
    }
}
