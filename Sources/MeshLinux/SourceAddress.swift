// SPDX-License-Identifier: Apache-2.0

import Glibc

extension Linux {
    /// The IPv4 address this host would use towards another, by its routes; nothing is sent.
    ///
    /// - Parameter host: a name, which is resolved, or an address.
    /// - Returns: four bytes in network order, or nil when the name has no IPv4 address or nothing leads there.
    package static func sourceAddress(towards host: String) -> [UInt8]? {
        var hints = addrinfo()
        hints.ai_family = AF_INET
        hints.ai_socktype = Int32(SOCK_DGRAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, "15012", &hints, &list) == 0, let first = list else { return nil }
        defer { freeaddrinfo(list) }
        let raw = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard raw >= 0 else { return nil }
        let descriptor = FileDescriptor(owning: raw)
        guard Glibc.connect(descriptor.raw, first.pointee.ai_addr, first.pointee.ai_addrlen) == 0,
            let local = try? Self.localEndpoint(descriptor.raw)
        else { return nil }
        return (0..<4).map { UInt8(truncatingIfNeeded: local.address >> (24 - 8 * $0)) }
    }
}
