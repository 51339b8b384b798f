// SPDX-License-Identifier: Apache-2.0

/// What a node of our own making says about itself in a CONNECT and in the answer to it, in the header
/// `nodemesh-capabilities`. Its presence alone says that the peer is one; other software ignores the header and does not
/// send it. What both sides name is used.
package struct TunnelCapabilities: Hashable, Sendable {
    /// The tunnel carries further connections after this one: each direction ends with an empty record of application
    /// data instead of close_notify, and once both have ended the client may send the next CONNECT.
    package var reuse: Bool
    /// This side may hand the tunnel to its kernel, which cannot change keys: the other one must never send a KeyUpdate.
    package var fixedKeys: Bool

    package init(reuse: Bool = false, fixedKeys: Bool = false) {
        self.reuse = reuse
        self.fixedKeys = fixedKeys
    }

    static let header = "nodemesh-capabilities"

    /// Tokens of later versions are skipped.
    init(_ text: String) {
        let tokens = text.split(separator: ",").map { $0.trimmingSpaces.lowercased() }
        self.reuse = tokens.contains("reuse")
        self.fixedKeys = tokens.contains("fixed-keys")
    }

    var encoded: String { "v1" + (self.reuse ? ", reuse" : "") + (self.fixedKeys ? ", fixed-keys" : "") }
}

extension Substring {
    fileprivate var trimmingSpaces: Substring {
        var text = self
        while text.first == " " || text.first == "\t" { text.removeFirst() }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return text
    }
}
