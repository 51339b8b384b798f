// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// What others hold before it is made; nil until then.
final class LateValue<Value: Sendable>: Sendable {
    private let stored = Mutex<Value?>(nil)

    var value: Value? {
        get { self.stored.withLock { $0 } }
        set { self.stored.withLock { $0 = newValue } }
    }
}
