// SPDX-License-Identifier: Apache-2.0

/// Finds what somebody meant who mistyped a name.
package enum NearName {
    /// - Returns: the nearest of `names`, if at most a third of `name` differs; capitals do not count.
    package static func of(_ name: String, among names: some Sequence<String>) -> String? {
        let typed = Array(name.lowercased().prefix(64))
        let distances = names.map { (name: $0, distance: Self.distance(typed, Array($0.lowercased()))) }
        let nearest = distances.min { ($0.distance, $0.name) < ($1.distance, $1.name) }
        return nearest.flatMap { $0.distance <= max(1, typed.count / 3) ? $0.name : nil }
    }

    /// How many characters must be put in, taken out or exchanged (Levenshtein).
    private static func distance(_ left: [Character], _ right: [Character]) -> Int {
        var row = Array(0...right.count)
        for (index, character) in left.enumerated() {
            var diagonal = row[0]
            row[0] = index + 1
            for (column, other) in right.enumerated() {
                let best = min(row[column] + 1, row[column + 1] + 1, diagonal + (character == other ? 0 : 1))
                diagonal = row[column + 1]
                row[column + 1] = best
            }
        }
        return row[right.count]
    }
}
