// SPDX-License-Identifier: Apache-2.0

/// What names may look like; each rule answers with what is wrong, or nil.
package enum NameRules {
    private static func isLowerAlphanumeric(_ byte: UInt8) -> Bool {
        (97...122).contains(byte) || (48...57).contains(byte)
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        Self.isLowerAlphanumeric(byte) || (65...90).contains(byte)
    }

    private static func isLabel(_ text: some Collection<UInt8>) -> Bool {
        guard (1...63).contains(text.count), let first = text.first, Self.isLowerAlphanumeric(first) else {
            return false
        }
        var last = first
        for byte in text {
            guard Self.isLowerAlphanumeric(byte) || byte == 45 else { return false }
            last = byte
        }
        return last != 45
    }

    /// DNS-1123 label.
    package static func label(_ text: String) -> String? {
        Self.isLabel(text.utf8)
            ? nil
            : "'\(text.prefix(80))' is not a valid name: use 1 to 63 lower-case letters, digits and '-', "
                + "with a letter or digit at both ends"
    }

    /// DNS-1123 subdomain: labels joined by dots.
    package static func subdomain(_ text: String) -> String? {
        let labels = text.utf8.split(separator: 46, omittingEmptySubsequences: false)
        return text.utf8.count <= 253 && labels.allSatisfy(Self.isLabel)
            ? nil
            : "'\(text.prefix(80))' is not a valid name: use at most 253 lower-case letters, digits, '-' and '.', "
                + "with a letter or digit at both ends of each part"
    }

    private static func isQualifiedName(_ text: some Collection<UInt8>) -> Bool {
        guard (1...63).contains(text.count), let first = text.first, Self.isAlphanumeric(first) else { return false }
        var last = first
        for byte in text {
            guard Self.isAlphanumeric(byte) || [45, 46, 95].contains(byte) else { return false }
            last = byte
        }
        return Self.isAlphanumeric(last)
    }

    /// The key of a label or an annotation: `name` or `prefix/name`.
    package static func labelKey(_ text: String) -> String? {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        let isValid =
            switch parts.count {
            case 1: Self.isQualifiedName(parts[0].utf8)
            case 2: Self.subdomain(String(parts[0])) == nil && Self.isQualifiedName(parts[1].utf8)
            default: false
            }
        return isValid
            ? nil
            : "'\(text.prefix(80))' is not a valid key: use 1 to 63 letters, digits, '-', '_' and '.', "
                + "optionally after a DNS name and '/'"
    }

    package static func labelValue(_ text: String) -> String? {
        text.isEmpty || Self.isQualifiedName(text.utf8)
            ? nil
            : "'\(text.prefix(80))' is not a valid label value: use at most 63 letters, digits, '-', '_' and '.', "
                + "with a letter or digit at both ends"
    }

    static func annotationValue(_ text: String) -> String? {
        text.utf8.count <= 65536 ? nil : "has \(text.utf8.count) bytes; at most 65536 are allowed"
    }

    /// An absolute path without anything that could lead elsewhere.
    static func absolutePath(_ text: String) -> String? {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
        let isValid =
            text.hasPrefix("/") && text.utf8.count <= 4096 && !text.utf8.contains(0)
            && parts.allSatisfy { !$0.isEmpty && $0 != "." && $0 != ".." }
        return isValid ? nil : "has to be an absolute path without '.', '..', '//' and final '/'"
    }
}
