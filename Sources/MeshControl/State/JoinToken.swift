// SPDX-License-Identifier: Apache-2.0

/// The text of a join token: `nmjt.<id>.<secret>`. The store keeps only a digest of the secret.
struct JoinToken: Equatable {
    let id: String
    let secret: String

    static func make() -> JoinToken { JoinToken(id: Secret.random(bytes: 9), secret: Secret.make()) }

    private init(id: String, secret: String) {
        self.id = id
        self.secret = secret
    }

    /// nil for anything else.
    init?(_ text: String) {
        guard text.utf8.count <= 256 else { return nil }
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0] == "nmjt", !parts[1].isEmpty, parts[2].utf8.count >= 16 else { return nil }
        self.init(id: String(parts[1]), secret: String(parts[2]))
    }

    var text: String { "nmjt.\(self.id).\(self.secret)" }
    var hash: [UInt8] { Secret.digest(self.secret) }
}
