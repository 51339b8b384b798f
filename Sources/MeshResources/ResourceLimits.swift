// SPDX-License-Identifier: Apache-2.0

/// How much one call may send.
package struct ResourceLimits: Hashable, Sendable {
    /// Of the whole text, in bytes.
    package var bytes = 1 << 20
    /// Resources in all documents, those inside lists included.
    package var resources = 1000
    /// Scalars, lists and objects in all documents.
    package var nodes = 200_000
    /// Nesting of lists and objects.
    package var depth = 32
    /// Problems that are reported; the rest are counted.
    package var problems = 100

    package init() {}
}
