// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshCLI
import Synchronization

/// Keeps what a verb writes.
final class CapturingConsole: Console {
    private let texts = Mutex((output: "", error: ""))
    private let input: String
    let isTerminal: Bool
    let size: (rows: Int, columns: Int)? = (10, 60)

    init(input: String = "", isTerminal: Bool = false) {
        self.input = input
        self.isTerminal = isTerminal
    }

    var output: String { self.texts.withLock { $0.output } }
    var error: String { self.texts.withLock { $0.error } }

    func write(_ text: String) throws(CLIError) { self.texts.withLock { $0.output += text } }
    func writeError(_ text: String) { self.texts.withLock { $0.error += text } }
    func readInput(limit: Int) throws(CLIError) -> Data { Data(self.input.utf8.prefix(limit)) }
}
