// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import MeshModel

/// What can be said of an enrolment request without looking at the host.
enum RequestCheck {
    /// At most as many exclusions of a kind; the kernel's maps have room for some thousands in all.
    private static let maximumExclusions = 256

    /// - Throws: ``EnrolmentError`` with what to change.
    static func check(_ request: EnrolRequest) throws(EnrolmentError) -> WorkloadID {
        for (field, value, limit) in [
            ("namespace", request.namespace, 63), ("name", request.name, 63),
            ("serviceAccount", request.serviceAccount, 253),
        ] {
            try Self.checkName(field, value, limit: limit)
        }
        try Self.checkLabels(request.labels)
        if let weight = request.weight, !(1...1_000_000).contains(weight) {
            throw EnrolmentError(.invalid, "weight: \(weight) is not from 1 to 1000000")
        }
        try Self.checkChoices(request)
        try Self.checkExclusions(request)
        return WorkloadID(namespace: request.namespace, name: request.name)
    }

    /// Names that become parts of a SPIFFE ID, a TLS server name and file names below bpffs.
    static func checkName(_ field: String, _ value: String, limit: Int) throws(EnrolmentError) {
        let isValid =
            (1...limit).contains(value.utf8.count) && value.first != "-" && value.last != "-"
            && value.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 45 }
        guard isValid else {
            throw EnrolmentError(
                .invalid,
                "\(field) '\(value)' must be 1 to \(limit) lower-case letters, digits and dashes, not starting or ending with a dash"
            )
        }
    }

    private static func checkLabels(_ labels: [String: String]) throws(EnrolmentError) {
        guard labels.count <= 64,
            labels.allSatisfy({ !$0.key.isEmpty && $0.key.utf8.count <= 317 && $0.value.utf8.count <= 63 })
        else {
            throw EnrolmentError(
                .invalid, "labels: at most 64, keys of 1 to 317 bytes, values of at most 63 bytes")
        }
    }

    private static func checkChoices(_ request: EnrolRequest) throws(EnrolmentError) {
        for (field, value, allowed) in [
            ("failMode", request.failMode, ["closed", "open"]), ("whenGone", request.whenGone, ["wait", "forget"]),
            ("accelerate", request.accelerate, ["sockmap"]), ("dns", request.dns, ["off"]),
        ] {
            if let value, !allowed.contains(value) {
                throw EnrolmentError(.invalid, "\(field): '\(value)' is not one of \(allowed.joined(separator: ", "))")
            }
        }
    }

    private static func checkExclusions(_ request: EnrolRequest) throws(EnrolmentError) {
        for (field, ports) in [
            ("excludedOutboundPorts", request.excludedOutboundPorts ?? []),
            ("excludedInboundPorts", request.excludedInboundPorts ?? []),
        ] {
            if ports.contains(0) { throw EnrolmentError(.invalid, "\(field): 0 is not a port") }
            if ports.count > Self.maximumExclusions {
                throw EnrolmentError(.invalid, "\(field): more than \(Self.maximumExclusions)")
            }
        }
        let prefixes = request.excludedPrefixes ?? []
        if prefixes.count > Self.maximumExclusions {
            throw EnrolmentError(.invalid, "excludedPrefixes: more than \(Self.maximumExclusions)")
        }
        for text in prefixes where IPPrefix(text) == nil {
            throw EnrolmentError(
                .invalid, "excludedPrefixes: '\(text)' is not a CIDR block, such as 10.1.0.0/16 or fd00::/8")
        }
    }
}
