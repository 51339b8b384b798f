// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// A resource's name on the command line: `NAME` with `-n`, or `NAMESPACE/NAME`.
struct ResourceName: Sendable, Hashable {
    let namespace: String
    let name: String

    init(_ text: String, namespace: String?) throws {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        switch parts.count {
        case 1:
            self.namespace = namespace ?? "default"
            self.name = parts[0]
        case 2:
            guard namespace == nil || namespace == parts[0] else {
                throw ValidationError("The name is in namespace '\(parts[0])', and -n says '\(namespace ?? "")'.")
            }
            self.namespace = try Values.label(parts[0])
            self.name = parts[1]
        default:
            throw ValidationError("'\(text)' is not a name: write NAME or NAMESPACE/NAME.")
        }
        // Names of resources may be DNS subdomains.
        for label in self.name.split(separator: ".", omittingEmptySubsequences: false) {
            _ = try Values.label(String(label))
        }
    }
}
