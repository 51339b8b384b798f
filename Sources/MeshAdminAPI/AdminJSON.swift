// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The one JSON form of both HTTP APIs: ISO 8601 dates, sorted keys.
package enum AdminJSON {
    package static var encoder: JSONEncoder {
        let encoder = JSONEncoder()
        encoder.dateEncodingStrategy = .iso8601
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return encoder
    }

    package static var decoder: JSONDecoder {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .iso8601
        return decoder
    }
}

/// The body of every answer that is not a success.
package struct ErrorResponse: Codable, Sendable, Hashable, Error {
    /// One sentence that says what is wrong and what to change.
    package var error: String
    /// What is wrong in the resources that were sent, all at once.
    package var problems: [ResourceProblem]

    package init(error: String, problems: [ResourceProblem] = []) {
        self.error = error
        self.problems = problems
    }
}

/// One fault in a resource document.
package struct ResourceProblem: Codable, Sendable, Hashable {
    /// Position of the document in what was sent, from 1.
    package var document: Int
    /// Line in what was sent, from 1, where it is known.
    package var line: Int?
    package var kind: String?
    package var namespace: String?
    package var name: String?
    /// Path of the field, such as `spec.rules[0].from[0].source.principals[1]`.
    package var path: String
    /// What is wrong and what is allowed.
    package var reason: String

    package init(
        document: Int, line: Int? = nil, kind: String? = nil, namespace: String? = nil, name: String? = nil,
        path: String, reason: String
    ) {
        self.document = document
        self.line = line
        self.kind = kind
        self.namespace = namespace
        self.name = name
        self.path = path
        self.reason = reason
    }
}
