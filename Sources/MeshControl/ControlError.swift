// SPDX-License-Identifier: Apache-2.0

/// The control plane cannot start or go on; the text tells the operator what to change.
package struct ControlError: Error, Equatable, CustomStringConvertible {
    package let message: String
    package init(_ message: String) { self.message = message }
    package var description: String { self.message }
}
