// SPDX-License-Identifier: Apache-2.0

extension Proxy {
    /// Has a loop answer between two of its turns, on its own thread.
    ///
    /// - Parameter loop: from 0.
    /// - Returns: false when there is no such loop, or it has ended; `answer` is not called then.
    package func ping(loop: Int, _ answer: @escaping @Sendable () -> Void) -> Bool {
        let loops = self.loops
        guard loops.indices.contains(loop) else { return false }
        return loops[loop].submit { _ in answer() }
    }
}
