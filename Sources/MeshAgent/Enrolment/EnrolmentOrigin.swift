// SPDX-License-Identifier: Apache-2.0

/// Who declared an enrolment, and so who may take it back.
package enum EnrolmentOrigin: Sendable, Hashable, CustomStringConvertible {
    /// An operator, by the admin API; kept in the data directory.
    case api
    /// A file of the workloads directory, `path:line`; read at each start.
    case file(String)
    /// A child of a template's cgroup; found anew at each start.
    case template(String)

    package var description: String {
        switch self {
        case .api: "api"
        case .file(let place): place
        case .template(let name): "template \(name)"
        }
    }
}
