// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel

/// A socket as an application uses it: plain calls of the C library, nothing of nodemesh.
final class TestSocket: Sendable {
    let fd: CInt
    /// AF_INET or AF_INET6.
    let family: CInt

    /// Takes ownership of `fd`.
    init(fd: CInt, family: CInt) {
        self.fd = fd
        self.family = family
        // No test waits for ever.
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(fd, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
    }

    deinit { close(self.fd) }

    func setNonBlocking() { _ = fcntl(self.fd, F_SETFL, O_NONBLOCK) }

    func bindToDevice(_ name: String) throws(SystemError) {
        _ = try systemCall("setsockopt") {
            setsockopt(self.fd, SOL_SOCKET, SO_BINDTODEVICE, name, socklen_t(name.utf8.count))
        }
    }

    func bind(_ address: String) throws(SystemError) {
        _ = try systemCall("bind") {
            Self.withAddress(Self.parse(address), self.family) { Glibc.bind(self.fd, $0, $1) }
        }
    }

    func listen(_ address: String) throws(SystemError) {
        var on: CInt = 1
        for option in [SO_REUSEADDR, SO_REUSEPORT] {
            setsockopt(self.fd, SOL_SOCKET, option, &on, socklen_t(MemoryLayout<CInt>.size))
        }
        try self.bind(address)
        _ = try systemCall("listen") { Glibc.listen(self.fd, 4_096) }
    }

    func connect(_ address: String) throws(SystemError) {
        try self.connect(Self.parse(address))
    }

    func connect(_ address: SocketAddress) throws(SystemError) {
        _ = try systemCall("connect") { Self.withAddress(address, self.family) { Glibc.connect(self.fd, $0, $1) } }
    }

    /// The `errno` of a connect that has to fail; 0 when it did not.
    func connectError(_ address: String) -> CInt {
        do throws(SystemError) {
            try self.connect(address)
            return 0
        } catch {
            return error.errno
        }
    }

    /// Ends the connection so that another can be made.
    func disconnect() {
        var nobody = sockaddr()
        nobody.sa_family = sa_family_t(AF_UNSPEC)
        Glibc.connect(self.fd, &nobody, socklen_t(MemoryLayout<sockaddr>.size))
    }

    /// Closing will send RST and free the socket at once.
    func resetOnClose() {
        var reset = linger(l_onoff: 1, l_linger: 0)
        setsockopt(self.fd, SOL_SOCKET, SO_LINGER, &reset, socklen_t(MemoryLayout<linger>.size))
    }

    var originalDestination: SocketAddress? { self.originalDestination(of: self.family) }

    /// `SO_ORIGINAL_DST`, or its IPv6 form; nil when there is no answer.
    func originalDestination(of family: CInt) -> SocketAddress? {
        let level = family == AF_INET ? CInt(IPPROTO_IP) : CInt(IPPROTO_IPV6)
        var storage = sockaddr_storage()
        var size = socklen_t(family == AF_INET ? MemoryLayout<sockaddr_in>.size : MemoryLayout<sockaddr_in6>.size)
        return getsockopt(self.fd, level, 80, &storage, &size) == 0 ? Self.address(storage) : nil
    }

    /// Bytes taken by `sendto(2)`, -1 on errors.
    func send(_ text: String, to address: String, flags: CInt = 0) -> Int {
        Self.withAddress(Self.parse(address), self.family) { name, size in
            sendto(self.fd, text, text.utf8.count, flags, name, size)
        }
    }

    /// The next bytes, at most `count`; nil on errors.
    func receive(_ count: Int) -> String? {
        var bytes = [UInt8](repeating: 0, count: count)
        let result = recv(self.fd, &bytes, count, 0)
        return result < 0 ? nil : String(decoding: bytes[..<result], as: UTF8.self)
    }

    /// The next datagram, at most 512 bytes, and the sender that recvfrom(2) tells; nil on errors.
    func receiveFrom() -> (text: String, sender: SocketAddress?)? {
        var bytes = [UInt8](repeating: 0, count: 512)
        var (storage, size) = (sockaddr_storage(), socklen_t(MemoryLayout<sockaddr_storage>.size))
        let result = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                recvfrom(self.fd, &bytes, bytes.count, 0, $0, &size)
            }
        }
        return result < 0 ? nil : (String(decoding: bytes[..<result], as: UTF8.self), Self.address(storage))
    }

    /// Waits until a non-blocking connect is decided and returns SO_ERROR.
    func outcome() -> CInt {
        var entry = pollfd(fd: self.fd, events: Int16(POLLOUT), revents: 0)
        guard poll(&entry, 1, 10_000) == 1 else { return ETIMEDOUT }
        var (code, size) = (CInt(0), socklen_t(MemoryLayout<CInt>.size))
        getsockopt(self.fd, SOL_SOCKET, SO_ERROR, &code, &size)
        return code
    }

    /// A waiting connection and the address that accept(2) gave.
    func accept() throws(SystemError) -> (socket: TestSocket, peer: SocketAddress?) {
        var (storage, size) = (sockaddr_storage(), socklen_t(MemoryLayout<sockaddr_storage>.size))
        let fd = try systemCall("accept") {
            withUnsafeMutablePointer(to: &storage) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.accept(self.fd, $0, &size) }
            }
        }
        return (TestSocket(fd: fd, family: self.family), Self.address(storage))
    }

    var peer: SocketAddress? { self.name(getpeername) }
    var local: SocketAddress? { self.name(getsockname) }

    private func name(
        _ call: (CInt, UnsafeMutablePointer<sockaddr>?, UnsafeMutablePointer<socklen_t>?) -> CInt
    ) -> SocketAddress? {
        var (storage, size) = (sockaddr_storage(), socklen_t(MemoryLayout<sockaddr_storage>.size))
        let result = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { call(self.fd, $0, &size) }
        }
        return result == 0 ? Self.address(storage) : nil
    }

    /// Address text as in the model, port 0 allowed.
    static func parse(_ text: String) -> SocketAddress {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]),
            let ip = IPAddress(text[..<colon].filter { $0 != "[" && $0 != "]" })
        else { preconditionFailure("not an address: \(text)") }
        return SocketAddress(ip: ip, port: port)
    }

    private static func withAddress<T>(
        _ address: SocketAddress, _ family: CInt, _ body: (UnsafePointer<sockaddr>, socklen_t) -> T
    ) -> T {
        if family == AF_INET {
            var value = sockaddr_in()
            value.sin_family = sa_family_t(AF_INET)
            value.sin_port = address.port.bigEndian
            value.sin_addr.s_addr = (address.ip.ipv4 ?? 0).bigEndian
            return withUnsafePointer(to: &value) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
        var value = sockaddr_in6()
        value.sin6_family = sa_family_t(AF_INET6)
        value.sin6_port = address.port.bigEndian
        withUnsafeMutableBytes(of: &value.sin6_addr) { $0.copyBytes(from: address.ip.bytes16) }
        return withUnsafePointer(to: &value) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in6>.size))
            }
        }
    }

    private static func address(_ storage: sockaddr_storage) -> SocketAddress? {
        withUnsafeBytes(of: storage) { bytes in
            switch CInt(storage.ss_family) {
            case AF_INET:
                let value = bytes.loadUnaligned(as: sockaddr_in.self)
                return SocketAddress(
                    ip: IPAddress(ipv4: UInt32(bigEndian: value.sin_addr.s_addr)),
                    port: UInt16(bigEndian: value.sin_port))
            case AF_INET6:
                let value = bytes.loadUnaligned(as: sockaddr_in6.self)
                guard let ip = withUnsafeBytes(of: value.sin6_addr, { IPAddress(bytes: $0) }) else { return nil }
                return SocketAddress(ip: ip, port: UInt16(bigEndian: value.sin6_port))
            default:
                return nil
            }
        }
    }
}
