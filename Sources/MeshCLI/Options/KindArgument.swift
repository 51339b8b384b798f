// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// The kind of a resource as people type it; the control plane understands singular, plural and short forms.
package struct KindArgument: ExpressibleByArgument, Sendable, Hashable {
    package var text: String

    package init?(argument: String) {
        guard !argument.isEmpty, argument.utf8.allSatisfy({ UInt8(ascii: "a")...UInt8(ascii: "z") ~= $0 | 0x20 }) else {
            return nil
        }
        self.text = argument
    }

    package static let defaultCompletionKind: CompletionKind = .list([
        "services", "workloads", "peerauthentications", "authorizationpolicies", "destinationrules", "connectionlimits",
    ])

    /// Of a list in help.
    static let help = """
        service, workload, peerauthentication, authorizationpolicy, destinationrule or connectionlimits; plurals and \
        capitals are fine
        """
}
