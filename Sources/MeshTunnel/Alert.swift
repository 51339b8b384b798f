// SPDX-License-Identifier: Apache-2.0

/// TLS alerts (RFC 8446 §6) in words for an operator.
enum Alert {
    static let accessDenied: UInt8 = 49
    static let decodeError: UInt8 = 50
    static let unrecognizedName: UInt8 = 112

    static func text(_ code: UInt8) -> String {
        switch code {
        case 10: "unexpected_message"
        case 20: "bad_record_mac"
        case 22: "record_overflow"
        case 40: "handshake_failure: it does not accept our certificate or our parameters"
        case 42: "bad_certificate: it cannot use our certificate"
        case 43: "unsupported_certificate"
        case 44: "certificate_revoked"
        case 45: "certificate_expired: our certificate has expired, or the peer's clock is wrong"
        case 46: "certificate_unknown: it does not accept our certificate"
        case 47: "illegal_parameter"
        case 48: "unknown_ca: our certificate's authority is not in the peer's trust bundle"
        case 49: "access_denied"
        case 50: "decode_error"
        case 51: "decrypt_error"
        case 70: "protocol_version: it does not speak TLS 1.3"
        case 80: "internal_error"
        case 112: "unrecognized_name: the workload is not enrolled on that node"
        case 116: "certificate_required: it wants a certificate and got none"
        case 120: "no_application_protocol"
        default: "alert \(code)"
        }
    }
}
