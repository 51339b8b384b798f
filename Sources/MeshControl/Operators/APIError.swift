// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import MeshAdminAPI
import MeshStore

/// A refusal with its HTTP status.
package struct APIError: Error {
    package let status: HTTPResponse.Status
    package let response: ErrorResponse

    init(_ status: HTTPResponse.Status, _ response: ErrorResponse) {
        self.status = status
        self.response = response
    }

    init(_ status: HTTPResponse.Status, _ message: String) {
        self.init(status, ErrorResponse(error: message))
    }

    init(_ error: StoreError) {
        let status: HTTPResponse.Status =
            switch error.code {
            case .notFound: .notFound
            case .conflict, .full: .conflict
            case .tokenRefused: .forbidden
            case .corrupt, .foreign, .unavailable: .serviceUnavailable
            }
        self.init(status, error.message)
    }
}
