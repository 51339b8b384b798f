// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import Testing

@Suite struct LinuxTests {
    /// Waits until `fd` has one of `events`.
    private func wait(_ fd: CInt, _ events: CInt) {
        var entry = pollfd(fd: fd, events: Int16(events), revents: 0)
        _ = poll(&entry, 1, 5000)
    }

    @Test func `connects, accepts and tells both addresses`() throws {
        let listener = try Linux.tcpListener(at: .loopback(port: 0))
        let address = try Linux.localEndpoint(listener.raw)
        #expect(try Linux.accept(listener.raw).isBlocked)
        let client = try Linux.tcpSocket()
        _ = try Linux.connect(client.raw, to: address)
        self.wait(client.raw, CInt(POLLOUT))
        #expect(Linux.socketError(client.raw) == 0)
        self.wait(listener.raw, CInt(POLLIN))
        guard case .done(let accepted) = try Linux.accept(listener.raw) else {
            Issue.record("nothing accepted")
            return
        }
        let server = FileDescriptor(owning: accepted.raw)
        #expect(accepted.peer == (try Linux.localEndpoint(client.raw)))
        #expect(try Linux.peerEndpoint(client.raw) == address)
        try Linux.setNoDelay(server.raw)
        try Linux.setKeepAlive(server.raw, idle: 30, interval: 10, count: 3, timeout: 60_000)
    }

    @Test func `a listener at the unspecified IPv6 address takes both families, another one its own only`() throws {
        let dual = try Linux.tcpListener(at: Endpoint(high: 0, low: 0, port: 0))
        let port = try Linux.localEndpoint(dual.raw).port
        for family in [AddressFamily.ipv4, .ipv6] {
            let client = try Linux.tcpSocket(family)
            let address = Endpoint.loopback(family, port: port)
            #expect(address.family == family)
            _ = try Linux.connect(client.raw, to: address)
            self.wait(dual.raw, CInt(POLLIN))
            guard case .done(let accepted) = try Linux.accept(dual.raw) else {
                Issue.record("nothing accepted")
                return
            }
            let server = FileDescriptor(owning: accepted.raw)
            #expect(accepted.peer == (try Linux.localEndpoint(client.raw)))
            #expect(try Linux.localEndpoint(server.raw) == address)
            #expect(try Linux.peerEndpoint(client.raw) == address)
        }
        let one = try Linux.tcpListener(at: .loopback(.ipv6, port: 0))
        let client = try Linux.tcpSocket()
        #expect(throws: SystemError.self) {
            let refused = try Linux.connect(
                client.raw, to: .loopback(port: try Linux.localEndpoint(one.raw).port))
            if case .wouldBlock = refused {
                self.wait(client.raw, CInt(POLLOUT))
                throw SystemError(call: "connect", errno: Linux.socketError(client.raw))
            }
        }
    }

    @Test func `a port can be shared, a refused connect says so`() throws {
        let first = try Linux.tcpListener(at: .loopback(port: 0))
        let address = try Linux.localEndpoint(first.raw)
        _ = try Linux.tcpListener(at: address)
        let client = try Linux.tcpSocket()
        do throws(SystemError) {
            let closed = try Linux.tcpListener(at: .loopback(port: 0))
            let port = try Linux.localEndpoint(closed.raw)
            _ = consume closed
            _ = try Linux.connect(client.raw, to: port)
            self.wait(client.raw, CInt(POLLOUT))
            #expect(Linux.socketError(client.raw) == ECONNREFUSED)
        } catch {
            #expect(error.errno == ECONNREFUSED)
            #expect(error.description == "connect: Connection refused (ECONNREFUSED)")
        }
    }

    @Test func `peek and discard leave and drop bytes`() throws {
        let listener = try Linux.tcpListener(at: .loopback(port: 0))
        let client = try Linux.tcpSocket()
        _ = try Linux.connect(client.raw, to: try Linux.localEndpoint(listener.raw))
        self.wait(listener.raw, CInt(POLLIN))
        guard case .done(let accepted) = try Linux.accept(listener.raw) else {
            Issue.record("nothing accepted")
            return
        }
        let server = FileDescriptor(owning: accepted.raw)
        var bytes: [UInt8] = Array("0123456789".utf8)
        #expect(try Linux.send(client.raw, &bytes, 10) == .done(10))
        self.wait(server.raw, CInt(POLLIN))
        var seen = [UInt8](repeating: 0, count: 16)
        #expect(try Linux.peek(server.raw, &seen, 4) == .done(4))
        #expect(try Linux.discard(server.raw, 4) == .done(4))
        #expect(try Linux.receive(server.raw, &seen, 16) == .done(6))
        #expect(seen[0] == UInt8(ascii: "4"))
        #expect(try Linux.receive(server.raw, &seen, 16) == .wouldBlock)
        Linux.reset(client.release())
        self.wait(server.raw, CInt(POLLIN))
        #expect(throws: SystemError(call: "recv", errno: ECONNRESET)) { try Linux.receive(server.raw, &seen, 16) }
    }

    @Test func `splice moves bytes through a pipe`() throws {
        let pipe = try Pipe(capacity: 1 << 20)
        let (left, right) = try Linux.socketPair()
        let a = FileDescriptor(owning: left)
        let b = FileDescriptor(owning: right)
        var bytes: [UInt8] = Array("hello".utf8)
        _ = try Linux.send(a.raw, &bytes, 5)
        #expect(try Linux.splice(from: b.raw, to: pipe.writeEnd.raw, 1 << 20) == .done(5))
        #expect(try Linux.splice(from: b.raw, to: pipe.writeEnd.raw, 1 << 20) == .wouldBlock)
        #expect(try Linux.splice(from: pipe.readEnd.raw, to: b.raw, 5) == .done(5))
        #expect(try Linux.receive(a.raw, &bytes, 5) == .done(5))
        #expect(bytes == Array("hello".utf8))
        #expect(pipe.capacity >= 65536)
    }

    @Test func `epoll tells edges with their data, and a wake-up from another thread`() throws {
        let epoll = try Epoll(capacity: 8)
        let wakeUp = try WakeUp()
        try epoll.add(wakeUp.raw, [.readable], data: 42)
        #expect(try epoll.wait(milliseconds: 0) == 0)
        let signal = Signal(wakeUp: wakeUp)
        let thread = try OSThread(name: "test") { signal.wakeUp.signal() }
        #expect(try epoll.wait(milliseconds: 5000) == 1)
        #expect(epoll.event(0).data == 42)
        #expect(epoll.event(0).events.contains(.readable))
        thread.join()
        signal.wakeUp.clear()
        #expect(try epoll.wait(milliseconds: 0) == 0)
    }

    private final class Signal: Sendable {
        let wakeUp: WakeUp
        init(wakeUp: consuming WakeUp) { self.wakeUp = wakeUp }
    }

    @Test func `a descriptor is closed with its owner, not after release`() throws {
        let raw: CInt
        do {
            let socket = try Linux.tcpSocket()
            raw = socket.raw
            #expect(fcntl(raw, F_GETFD) == FD_CLOEXEC)
        }
        // Another test may have taken the number meanwhile, so only the release half is certain.
        let kept = try Linux.tcpSocket().release()
        #expect(fcntl(kept, F_GETFD) == FD_CLOEXEC)
        Linux.close(kept)
        #expect(raw >= 0)
    }

    @Test func `a network namespace is known by its inode`() throws {
        let own = try NetworkNamespace.ofProcess()
        #expect(own.inode == (try NetworkNamespace(path: "/proc/self/ns/net")).inode)
    }

    @Test func `clocks advance`() {
        let start = Clock.monotonic
        #expect(Clock.monotonic >= start)
        #expect(Clock.wall > 1_600_000_000_000_000_000)
        #expect(ProcessLimits.raiseDescriptorLimit() > 0)
    }
}

extension IOResult {
    fileprivate var isBlocked: Bool { if case .wouldBlock = self { true } else { false } }
}
