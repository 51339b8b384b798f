// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshCLI

@main
enum Main {
    static func main() async {
        exit(await Launcher.run(Array(CommandLine.arguments.dropFirst())))
    }
}
