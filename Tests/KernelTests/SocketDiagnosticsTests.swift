// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import Testing

extension KernelTests {
    @Suite struct Diagnostics {
        private func end(_ text: String) -> DiagnosedSocket.End {
            let address = TestSocket.parse(text)
            return DiagnosedSocket.End(high: address.ip.high, low: address.ip.low, port: address.port)
        }

        private func cookie(of socket: TestSocket) -> UInt64 {
            var (value, size) = (UInt64(0), socklen_t(8))
            getsockopt(socket.fd, SOL_SOCKET, 57, &value, &size)
            return value
        }

        @Test(arguments: [
            ("10.77.0.1:8080", AF_INET), ("[fd01::1]:8080", AF_INET6), ("[::ffff:10.77.0.1]:8080", AF_INET6),
        ])
        func listsOneSocketWithItsFiguresAndDestroysIt(address: String, family: CInt) throws {
            try Sandbox.run(isEnrolled: false) { sandbox in
                let server = try sandbox.stranger(family: family)
                try server.listen(address)
                let client = try sandbox.application(family: family)
                try client.connect(address)
                let accepted = try server.accept().socket
                #expect(send(client.fd, "0123456789", 10, 0) == 10)
                var buffer = [UInt8](repeating: 0, count: 16)
                #expect(recv(accepted.fd, &buffer, 4, 0) == 4)

                let diagnostics = try SocketDiagnostics(in: sandbox.inside)
                let all = try diagnostics.dump(states: [.established], withFigures: true)
                let found = try #require(all.first)
                #expect(all.count == 1)
                #expect(found.isIPv6 == (family == AF_INET6))
                #expect(found.remote == self.end(address))
                #expect(found.local.port == client.local?.port)
                #expect(found.cookie == self.cookie(of: client))
                #expect(found.cgroupID == sandbox.workload.id)
                #expect(found.inode != 0)
                #expect(found.figures.bytesSent == 10)
                let other = try SocketDiagnostics.dump(
                    in: sandbox.outside, states: [.established], withFigures: true)
                #expect(other.map(\.figures.bytesReceived) == [10])
                #expect(other.map(\.unread) == [6])
                #expect(try SocketDiagnostics.dump(in: sandbox.outside, states: [.listen]).map(\.state) == [.listen])

                #expect(try diagnostics.destroy(found))
                #expect(try !diagnostics.destroy(found))
                #expect(recv(client.fd, &buffer, 16, 0) == -1 && errno == ECONNABORTED)
                #expect(recv(accepted.fd, &buffer, 16, 0) == 6)
                #expect(recv(accepted.fd, &buffer, 16, 0) == -1 && errno == ECONNRESET)
            }
        }

        @Test func picksStateAndCgroup() throws {
            try Sandbox.run(isEnrolled: false) { sandbox in
                let mine = try sandbox.application()
                try mine.listen("10.77.0.2:81")
                let proxy = try sandbox.proxySocket()
                try proxy.listen("10.77.0.2:82")
                let diagnostics = try SocketDiagnostics(in: sandbox.inside)
                #expect(Set(try diagnostics.dump(states: [.listen]).map(\.local.port)) == [81, 82])
                #expect(
                    try diagnostics.dump(states: [.listen], cgroup: sandbox.workload.id).map(\.local.port) == [81])
                #expect(try diagnostics.dump(states: [.established]).isEmpty)
                #expect(try diagnostics.dump(states: [.listen], cgroup: 1 << 60).isEmpty)
            }
        }

        @Test func listsMoreThanOnePart() throws {
            try Sandbox.run(isEnrolled: false) { sandbox in
                let listeners = try sandbox.applications(1_500)
                for listener in listeners {
                    _ = try systemCall("listen") { Glibc.listen(listener.fd, 1) }
                }
                let found = try SocketDiagnostics.dump(in: sandbox.inside, states: [.listen])
                #expect(found.count == 1_500)
                #expect(Set(found.map(\.cookie)).count == 1_500)
            }
        }
    }
}
