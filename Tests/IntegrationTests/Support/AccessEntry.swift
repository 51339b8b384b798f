// SPDX-License-Identifier: Apache-2.0

/// The fields of an access-log line that the tests look at.
struct AccessEntry: Decodable {
    var direction: String
    var source: String?
    var sourceAddress: String?
    var sourceIdentity: String?
    var destination: String
    var destinationWorkload: String?
    var destinationIdentity: String?
    var wire: String
    var policy: String?
    var bytesSent: UInt64
    var bytesReceived: UInt64
    var reason: String?
    var detail: String?
    var traceparent: String?
}
