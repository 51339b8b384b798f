// SPDX-License-Identifier: Apache-2.0

internal import MeshModel

/// The texts of policies: what they may look like (each rule answers with what is wrong) and what they mean.
enum PolicyText {
    /// `*` any, `prefix*`, `*suffix`, or the value itself.
    static func match(_ text: String) -> AuthorizationPolicy.StringMatch {
        if text == "*" { return .presence }
        if text.hasSuffix("*") { return .prefix(String(text.dropLast())) }
        if text.hasPrefix("*") { return .suffix(String(text.dropFirst())) }
        return .exact(text)
    }

    private static func pattern(_ text: String) -> String? {
        if text.isEmpty { return "must not be empty" }
        if text.utf8.count > 2048 { return "is longer than 2048 bytes" }
        if text != "*", text.dropFirst().dropLast().contains("*") || (text.hasPrefix("*") && text.hasSuffix("*")) {
            return "'*' may stand at one end only, or alone"
        }
        return text.contains(where: \.isWhitespace) ? "must not hold white space" : nil
    }

    static func principal(_ text: String) -> String? {
        text.hasPrefix("spiffe://")
            ? "is written without 'spiffe://': TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT" : Self.pattern(text)
    }

    static func namespace(_ text: String) -> String? { Self.pattern(text) }

    static func serviceAccount(_ text: String) -> String? {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        if text.contains("*") { return "patterns are not supported here; use principals" }
        return switch parts.count {
        case 1: NameRules.subdomain(parts[0])
        case 2: NameRules.label(parts[0]) ?? NameRules.subdomain(parts[1])
        default: "has to be SERVICE-ACCOUNT or NAMESPACE/SERVICE-ACCOUNT"
        }
    }

    static func addressBlock(_ text: String) -> String? {
        IPPrefix(text) == nil ? "'\(text.prefix(64))' is not an IP address or CIDR block, such as 10.0.0.0/8" : nil
    }

    static func port(_ text: String) -> UInt16? {
        guard !text.isEmpty, text.utf8.allSatisfy({ (48...57).contains($0) }), let port = UInt16(text), port != 0 else {
            return nil
        }
        return port
    }
}
