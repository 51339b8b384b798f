// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI

extension AuthorityStatus {
    func facts(at now: Date) -> Facts {
        var facts = Facts()
        facts.add("Phase", self.phase, self.phase == "steady" ? .good : .warning)
        for root in self.roots {
            facts.add(
                "Root, \(root.state)", "\(root.fingerprint), expires \(Human.relative(root.notAfter, to: now))",
                root.notAfter <= now ? .bad : .plain)
        }
        for waiting in self.waiting {
            facts.add("Waits for", "\(waiting.node): \(waiting.reason)", waiting.isAlive ? .plain : .warning)
        }
        switch self.phase {
        case "adding":
            facts.add("Next", self.waiting.isEmpty ? "the next root signs in a moment" : "nothing to do but to wait")
        case "switched": facts.add("Next", self.waiting.isEmpty ? "nodemeshctl ca retire" : "wait, then ca retire")
        default: break
        }
        return facts
    }
}
