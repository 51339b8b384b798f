// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Plain lines for the person who started the program.
enum Console {
    static func error(_ line: String) {
        FileHandle.standardError.write(Data("\(line)\n".utf8))
    }

    static func line(_ line: String) {
        FileHandle.standardOutput.write(Data("\(line)\n".utf8))
    }
}
