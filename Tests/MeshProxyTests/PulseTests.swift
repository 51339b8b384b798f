// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import Synchronization
import Testing

@testable import MeshProxy

@Suite struct PulseTests {
    @Test func `a blocked loop does not answer, the others do`() async throws {
        let mesh = try TestMesh(loops: 2)
        let proxy = mesh.a.proxy
        let (block, entered) = (Semaphore(), Semaphore())
        #expect(
            proxy.ping(loop: 0) {
                entered.signal()
                block.wait()
            })
        try await onThread { entered.wait() }
        let hasAnswered = Answered()
        #expect(proxy.ping(loop: 0) { hasAnswered.set() })
        await withCheckedContinuation { continuation in
            let isAsked = proxy.ping(loop: 1) { continuation.resume() }
            #expect(isAsked)
        }
        #expect(!hasAnswered.isSet)
        block.signal()
        await withCheckedContinuation { continuation in _ = proxy.ping(loop: 0) { continuation.resume() } }
        #expect(hasAnswered.isSet)
        #expect(!proxy.ping(loop: 2) {})
    }

    private final class Answered: Sendable {
        private let value = Atomic(false)
        var isSet: Bool { self.value.load(ordering: .acquiring) }
        func set() { self.value.store(true, ordering: .releasing) }
    }
}
