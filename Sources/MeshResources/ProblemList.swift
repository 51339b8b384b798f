// SPDX-License-Identifier: Apache-2.0

package import MeshAdminAPI

/// Everything that is wrong with a text, in the order of the text.
package struct InvalidResources: Error, Hashable, Sendable {
    package var problems: [ResourceProblem]

    package init(problems: [ResourceProblem]) { self.problems = problems }
}

/// Collects problems of the resource that is being read.
///
/// It lives within one call of the decoder and never leaves it.
final class ProblemList {
    private(set) var problems: [ResourceProblem] = []
    private(set) var omitted = 0
    private let limit: Int
    private var document = 1
    private var kind: String?
    private var namespace: String?
    private var name: String?
    /// Where in `problems` the current resource starts: they get its name when it is known.
    private var start = 0

    init(limit: Int) { self.limit = limit }

    var count: Int { self.problems.count + self.omitted }

    func beginResource(document: Int) {
        (self.document, self.start) = (document, self.problems.count)
        (self.kind, self.namespace, self.name) = (nil, nil, nil)
    }

    func nameResource(kind: String? = nil, namespace: String? = nil, name: String? = nil) {
        self.kind = kind ?? self.kind
        self.namespace = namespace ?? self.namespace
        self.name = name ?? self.name
        for index in self.start..<self.problems.count {
            self.problems[index].kind = self.kind
            self.problems[index].namespace = self.namespace
            self.problems[index].name = self.name
        }
    }

    func add(line: Int?, path: String, _ reason: String) {
        self.add(
            ResourceProblem(
                document: self.document, line: line, kind: self.kind, namespace: self.namespace, name: self.name,
                path: path, reason: reason))
    }

    func add(_ problem: ResourceProblem) {
        if self.problems.count < self.limit { self.problems.append(problem) } else { self.omitted += 1 }
    }

    /// All problems, with a last one that counts those left out.
    var result: InvalidResources {
        var problems = self.problems
        if self.omitted > 0 {
            problems.append(
                ResourceProblem(
                    document: self.document, path: "", reason: "\(self.omitted) more problems are not shown"))
        }
        return InvalidResources(problems: problems)
    }
}
