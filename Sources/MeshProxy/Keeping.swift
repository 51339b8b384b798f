// SPDX-License-Identifier: Apache-2.0

/// What a loop's last look at what is to be kept has found.
struct Keeping {
    /// The newest pipe then.
    var pipes: UInt64 = 0
    /// A kept relay has ended since.
    var hasLost = false
}
