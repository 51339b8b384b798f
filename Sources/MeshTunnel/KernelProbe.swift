// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux

/// Two ends of a TCP connection.
struct LoopbackPair: ~Copyable {
    let left: FileDescriptor
    let right: FileDescriptor

    init() throws(SystemError) {
        let listener = try Linux.tcpListener(at: .loopback(port: 0), backlog: 1)
        let left = try Linux.tcpSocket()
        // What is timed sends much at once and does not want to wait.
        try Linux.setBufferSizes(listener.raw, send: 1 << 20, receive: 1 << 20)
        try Linux.setBufferSizes(left.raw, send: 1 << 20, receive: 1 << 20)
        _ = try Linux.connect(left.raw, to: Linux.localEndpoint(listener.raw))
        try KernelProbe.wait(listener.raw)
        guard case .done(let accepted) = try Linux.accept(listener.raw) else {
            throw SystemError(call: "accept4", errno: EAGAIN)
        }
        let right = FileDescriptor(owning: accepted.raw)
        try Linux.setNoDelay(left.raw)
        try Linux.setNoDelay(right.raw)
        self.left = left
        self.right = right
    }
}

/// What kernel TLS can do on this machine: tried, not concluded from a version.
package struct KernelProbe: Sendable, Equatable {
    /// For each suite with which a record did not get through, why.
    package var failures: [CipherSuite: String] = [:]
    /// Nanoseconds of CPU per MiB through both ends of a tunnel, of either engine; nil: not measured.
    package var kernelTime: UInt64?
    package var userTime: UInt64?

    package var suites: Set<CipherSuite> { Set(CipherSuite.allCases.filter { self.failures[$0] == nil }) }

    package init() {}

    /// Tries each suite on a loopback connection, then both engines with the first. Some tens of milliseconds.
    ///
    /// - Parameter aead: what the user-space engine would use; nil: nothing is to be timed.
    package static func run(aead: AEADProvider?) -> KernelProbe {
        var probe = KernelProbe()
        for suite in CipherSuite.allCases {
            do throws(SystemError) {
                if try !Self.passes(suite) { probe.failures[suite] = "a record did not arrive as it was sent" }
            } catch {
                probe.failures[suite] = error.errno == ENOENT ? "not in this kernel (\(error))" : error.description
                // Without the protocol itself the others need not be tried.
                if error.call.description == "setsockopt(TCP_ULP)" {
                    for other in CipherSuite.allCases { probe.failures[other] = probe.failures[suite] }
                    return probe
                }
            }
        }
        guard let aead, probe.failures.isEmpty else { return probe }
        probe.kernelTime = try? KernelTiming.kernel(.aes128GCM)
        probe.userTime = try? KernelTiming.user(.aes128GCM, aead)
        return probe
    }

    /// One spliced record and one alert, through a connection whose both ends are the kernel's.
    private static func passes(_ suite: CipherSuite) throws(SystemError) -> Bool {
        let pair = try LoopbackPair()
        try Self.install(suite, pair.left.raw, pair.right.raw)
        let sent = (0..<1000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let pipe = try Pipe(capacity: 65536)
        guard write(pipe.writeEnd.raw, sent, sent.count) == sent.count,
            try Linux.splice(from: pipe.readEnd.raw, to: pair.left.raw, sent.count) == .done(sent.count),
            try Linux.sendTLSRecord(pair.left.raw, type: RecordLayout.alert, [1, 0]) == .done(2)
        else { return false }
        try Self.wait(pair.right.raw)
        guard try Linux.splice(from: pair.right.raw, to: pipe.writeEnd.raw, 65536) == .done(sent.count) else {
            return false
        }
        var received = [UInt8](repeating: 0, count: sent.count)
        guard read(pipe.readEnd.raw, &received, received.count) == sent.count, received == sent else { return false }
        try Self.wait(pair.right.raw)
        var type: UInt8 = 0
        return try Linux.receiveTLS(pair.right.raw, &received, received.count, type: &type) == .done(2)
            && type == RecordLayout.alert && received[1] == 0
    }

    /// Makes the kernel seal on `sender` and open on `receiver`, with keys that protect nothing.
    static func install(_ suite: CipherSuite, _ sender: CInt, _ receiver: CInt) throws(SystemError) {
        let (key, iv) = ([UInt8](repeating: 0x55, count: 32), [UInt8](repeating: 0x66, count: 12))
        for (socket, direction) in [(sender, Linux.TLSDirection.sending), (receiver, .receiving)] {
            try Linux.prepareTLS(socket)
            try Linux.installTLS(socket, direction, suite: suite.rawValue, key: key, iv: iv, sequence: 0)
        }
    }

    /// Waits until there is something to read, at most a second.
    static func wait(_ fd: CInt) throws(SystemError) {
        var entry = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
        if try systemCall("poll", { poll(&entry, 1, 1000) }) == 0 { throw SystemError(call: "poll", errno: ETIMEDOUT) }
    }
}
