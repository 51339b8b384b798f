// SPDX-License-Identifier: Apache-2.0

import Glibc

extension Linux {
    /// The address this host would use towards another, by its routes; nothing is sent.
    ///
    /// - Parameter host: a name, which is resolved, or an address. Of several addresses the first counts to which a
    ///   route leads, in the order of getaddrinfo(3).
    /// - Returns: port 0, or nil when the name has no address or nothing leads there.
    package static func sourceAddress(towards host: String) -> Endpoint? {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_DGRAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, "15012", &hints, &list) == 0 else { return nil }
        defer { freeaddrinfo(list) }
        var next = list
        while let entry = next {
            next = entry.pointee.ai_next
            let raw = socket(
                entry.pointee.ai_family, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            if raw < 0 { continue }
            let descriptor = FileDescriptor(owning: raw)
            guard Glibc.connect(descriptor.raw, entry.pointee.ai_addr, entry.pointee.ai_addrlen) == 0,
                var local = try? Self.localEndpoint(descriptor.raw)
            else { continue }
            local.port = 0
            return local
        }
        return nil
    }
}
