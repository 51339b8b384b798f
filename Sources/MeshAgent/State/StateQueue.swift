// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Foundation

/// Where files are written: one after the other, on a thread that may wait for the disk.
package final class StateQueue: Sendable {
    private let queue = DispatchQueue(label: "nodemesh.state", qos: .utility)

    package init() {}

    /// Waits for its turn and for the work.
    package func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            self.queue.async { continuation.resume(with: Result { try body() }) }
        }
    }

    /// Waits for nothing.
    package func submit(_ body: @escaping @Sendable () -> Void) { self.queue.async(execute: body) }
}
