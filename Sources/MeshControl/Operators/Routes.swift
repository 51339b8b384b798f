// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hummingbird

/// The routes of an API, and which methods each path knows.
struct Routes {
    typealias Handler = @Sendable (Request, BasicRequestContext) async throws -> Response

    struct Route: Sendable {
        var method: HTTPRequest.Method
        var path: String
        var handler: Handler
    }

    private(set) var all: [Route] = []

    mutating func add(_ method: HTTPRequest.Method, _ path: String, _ handler: @escaping Handler) {
        self.all.append(Route(method: method, path: path, handler: handler))
    }

    var table: RouteTable { RouteTable(entries: self.all.map { ($0.method, $0.path.split(separator: "/")) }) }
}

/// Tells a wrong method from a wrong path: the router knows only that nothing matched.
struct RouteTable: Sendable {
    let entries: [(method: HTTPRequest.Method, path: [Substring])]

    /// The methods that a path answers to; empty: there is no such path.
    func methods(of path: String) -> [HTTPRequest.Method] {
        let parts = path.split(separator: "/")
        return self.entries.filter { entry in
            entry.path.count == parts.count
                && zip(entry.path, parts).allSatisfy { $0.hasPrefix("{") || $0 == $1 }
        }.map(\.method)
    }
}
