// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The signals of this process.
package enum ProcessSignals {
    /// Makes writing to a closed connection an error of the call instead of the end of the process: splice(2) has no
    /// flag for it.
    package static func ignoreBrokenPipe() { _ = signal(SIGPIPE, SIG_IGN) }
}
