// SPDX-License-Identifier: Apache-2.0

import Logging

extension LiveConfiguration.Outcome {
    /// Tells the operator what a reload did, a line a key.
    package func log(to logger: Logger, program: String) {
        for problem in self.problems {
            logger.error("the configuration stays as it was", metadata: ["problem": "\(problem)"])
        }
        for change in self.applied {
            logger.info(
                "configuration changed",
                metadata: ["key": "\(change.key)", "from": "\(change.from)", "to": "\(change.to)"])
        }
        for change in self.pending {
            logger.warning(
                "this key has changed and needs a restart of \(program)",
                metadata: ["key": "\(change.key)", "from": "\(change.from)", "to": "\(change.to)"])
        }
    }
}
