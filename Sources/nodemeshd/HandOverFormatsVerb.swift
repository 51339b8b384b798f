// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshAgent

/// What a running nodemeshd asks the program that was put in its place; of no use to people.
struct HandOverFormatsVerb: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: SuccessorCheck.verb, shouldDisplay: false)

    func run() { Console.line(SuccessorCheck.line) }
}
