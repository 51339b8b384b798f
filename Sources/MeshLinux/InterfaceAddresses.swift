// SPDX-License-Identifier: Apache-2.0

import Glibc

/// One address of one network interface.
package struct InterfaceAddress: Hashable, Sendable {
    package let interface: String
    /// Four or sixteen bytes in network order.
    package let bytes: [UInt8]
    package let isLoopback: Bool
    package let isUp: Bool
}

extension InterfaceAddress {
    /// Every IPv4 and IPv6 address in the calling thread's network namespace (`getifaddrs(3)`).
    package static func all() throws(SystemError) -> [InterfaceAddress] {
        var head: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&head) == 0 else { throw SystemError(call: "getifaddrs", errno: errno) }
        defer { freeifaddrs(head) }
        var found: [InterfaceAddress] = []
        var next = head
        while let entry = next {
            next = entry.pointee.ifa_next
            guard let address = entry.pointee.ifa_addr, let bytes = Self.bytes(of: address) else { continue }
            found.append(
                InterfaceAddress(
                    interface: String(cString: entry.pointee.ifa_name), bytes: bytes,
                    isLoopback: entry.pointee.ifa_flags & UInt32(IFF_LOOPBACK) != 0,
                    isUp: entry.pointee.ifa_flags & UInt32(IFF_UP) != 0))
        }
        return found
    }

    private static func bytes(of address: UnsafeMutablePointer<sockaddr>) -> [UInt8]? {
        switch Int32(address.pointee.sa_family) {
        case AF_INET:
            address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { inet in
                withUnsafeBytes(of: inet.pointee.sin_addr) { Array($0) }
            }
        case AF_INET6:
            address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { inet in
                withUnsafeBytes(of: inet.pointee.sin6_addr) { Array($0) }
            }
        default: nil
        }
    }
}
