// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc
import MeshLinux
import Synchronization
import Testing

@Suite struct ServiceManagerTests {
    /// A service manager that keeps what it is given, as long as there is room.
    private final class Manager: Sendable {
        struct State {
            var messages: [String] = []
            var stored: [(name: String, descriptor: CInt)] = []
        }

        let address: String
        private let socket: FileDescriptor
        private let room: Int
        private let state = Mutex(State())

        init(path: String? = nil, room: Int = 100) throws {
            self.address = path ?? "@nodemesh-test-\(UInt64.random(in: 0 ... .max))"
            self.room = room
            self.socket = FileDescriptor(owning: nm_unix_datagram())
            try #require(UnixAddress(self.address)).bind(self.socket.raw)
        }

        deinit { for entry in self.state.withLock({ $0.stored }) { Linux.close(entry.descriptor) } }

        /// Takes one message, for which it waits.
        func receive() throws -> String {
            guard try DescriptorMessage.wait(self.socket.raw, milliseconds: 5000),
                let message = try DescriptorMessage.receive(self.socket.raw, limit: 65_536)
            else { throw SystemError(call: "recvmsg", errno: ETIMEDOUT) }
            let text = String(decoding: message.bytes, as: UTF8.self)
            self.state.withLock { state in
                state.messages.append(text)
                let fields = Dictionary(
                    text.split(separator: "\n").map { line -> (String, String) in
                        let parts = line.split(separator: "=", maxSplits: 1).map(String.init)
                        return (parts[0], parts.count > 1 ? parts[1] : "")
                    }, uniquingKeysWith: { $1 })
                let name = fields["FDNAME"] ?? "stored"
                if fields["FDSTOREREMOVE"] != nil {
                    for entry in state.stored where entry.name == name { Linux.close(entry.descriptor) }
                    state.stored.removeAll { $0.name == name }
                }
                for descriptor in message.descriptors {
                    if fields["FDSTORE"] != nil, state.stored.count < self.room {
                        state.stored.append((name, descriptor))
                    } else {
                        // A barrier's is closed when everything before it was read; that is now.
                        Linux.close(descriptor)
                    }
                }
            }
            return text
        }

        var stored: [(name: String, descriptor: CInt)] { self.state.withLock { $0.stored } }

        /// Answers messages on a thread of its own while `body` runs.
        func serving<Result>(_ body: () throws -> Result) throws -> Result {
            let stop = Stop()
            let thread = try OSThread(name: "manager") { [self] in
                while !stop.isSet {
                    if (try? DescriptorMessage.wait(self.socket.raw, milliseconds: 10)) == true {
                        _ = try? self.receive()
                    }
                }
            }
            let result = Swift.Result { try body() }
            stop.set()
            thread.join()
            return try result.get()
        }
    }

    private final class Stop: Sendable {
        private let value = Atomic(false)
        var isSet: Bool { self.value.load(ordering: .relaxed) }
        func set() { self.value.store(true, ordering: .relaxed) }
    }

    private func client(_ manager: Manager) throws -> ServiceManager {
        try #require(ServiceManager(environment: ["NOTIFY_SOCKET": manager.address]))
    }

    @Test func `notices are assignments on lines, several in one message`() throws {
        let manager = try Manager()
        let client = try self.client(manager)
        try client.notify([.ready, .status("two\nlines")])
        #expect(try manager.receive() == "READY=1\nSTATUS=two lines")
        try client.notify([.reloading])
        let words = try manager.receive().split(separator: "\n")
        #expect(words.first == "RELOADING=1")
        #expect(try #require(words.last).wholeMatch(of: /MONOTONIC_USEC=[0-9]+/) != nil)
        try client.notify([.stopping, .extendTimeout(5_000_000)])
        #expect(try manager.receive() == "STOPPING=1\nEXTEND_TIMEOUT_USEC=5000000")
        try client.notify([.watchdog])
        #expect(try manager.receive() == "WATCHDOG=1")
    }

    @Test func `a path works as well as an abstract name`() throws {
        let path = "/tmp/nm-\(UInt32.random(in: 0 ... .max)).sock"
        defer { unlink(path) }
        let manager = try Manager(path: path)
        try self.client(manager).notify([.ready])
        #expect(try manager.receive() == "READY=1")
    }

    @Test(arguments: ["", "relative", "vsock:2:1234", "@", "/"])
    func `what is no Unix socket is no service manager`(_ address: String) {
        #expect(ServiceManager(environment: ["NOTIFY_SOCKET": address]) == nil)
    }

    @Test func `without a listener it is an error, not a wait`() throws {
        let client = try #require(ServiceManager(environment: ["NOTIFY_SOCKET": "@nodemesh-nobody"]))
        #expect(throws: SystemError(call: "connect", errno: ECONNREFUSED)) { try client.notify([.ready]) }
        #expect(ServiceManager(environment: [:]) == nil)
    }

    @Test func `descriptors are stored under names and removed again`() throws {
        let manager = try Manager()
        let client = try self.client(manager)
        let pipe = try Pipe(capacity: 4096).release()
        try client.store([pipe.read, pipe.write], as: "nm-1")
        #expect(try manager.receive() == "FDSTORE=1\nFDPOLL=0\nFDNAME=nm-1")
        #expect(manager.stored.map(\.name) == ["nm-1", "nm-1"])
        try client.removeStored("nm-1")
        #expect(try manager.receive() == "FDSTOREREMOVE=1\nFDNAME=nm-1")
        #expect(manager.stored.isEmpty)
        Linux.close(pipe.read)
        Linux.close(pipe.write)
    }

    @Test func `the barrier waits for the manager, and not for ever`() throws {
        let manager = try Manager()
        let client = try self.client(manager)
        try manager.serving { try client.synchronise(milliseconds: 5000) }
        #expect(throws: SystemError(call: "the service manager's barrier", errno: ETIMEDOUT)) {
            try client.synchronise(milliseconds: 10)
        }
    }

    @Test(arguments: [(0, false), (3, false), (4, true), (100, true)])
    func `whether there is room is found out`(_ room: Int, _ isEnough: Bool) throws {
        let manager = try Manager(room: room)
        let client = try self.client(manager)
        #expect(try manager.serving { client.keepsDescriptors(count: 4) } == isEnough)
        while (try? manager.receive()) != nil, !manager.stored.isEmpty {}
        #expect(manager.stored.isEmpty)
    }

    // MARK: Environment

    @Test func `the watchdog is this process's or nobody's`() {
        func interval(_ environment: [String: String]) -> Duration? {
            ServiceManager.watchdogInterval(environment: environment, pid: 7)
        }
        #expect(interval(["WATCHDOG_USEC": "30000000"]) == .seconds(30))
        #expect(interval(["WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"]) == .seconds(30))
        #expect(interval(["WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"]) == nil)
        #expect(interval(["WATCHDOG_USEC": "0"]) == nil)
        #expect(interval(["WATCHDOG_USEC": "soon"]) == nil)
        #expect(interval([:]) == nil)
    }

    @Test func `inherited descriptors are taken by name, the others closed`() throws {
        // Three in a row where nobody else's are: tests beside this one have hundreds open, from the lowest number on.
        let base = CInt(min(ProcessLimits.raiseDescriptorLimit(), 60_000)) - 8
        var pipes: [(read: CInt, write: CInt)] = []
        for offset in 0..<3 {
            let pipe = try Pipe(capacity: 4096).release()
            #expect(dup2(pipe.read, base + CInt(offset)) >= 0)
            Linux.close(pipe.read)
            pipes.append(pipe)
        }
        defer { for pipe in pipes { Linux.close(pipe.write) } }
        do {
            let environment = ["LISTEN_PID": "7", "LISTEN_FDS": "3", "LISTEN_FDNAMES": "a:b:a"]
            let others = InheritedDescriptors(environment: environment, pid: 8, first: base)
            #expect(others.names.isEmpty)
            var inherited = InheritedDescriptors(environment: environment, pid: 7, first: base)
            #expect(inherited.names == ["a", "b", "a"])
            #expect(fcntl(base, F_GETFD) == FD_CLOEXEC)
            guard let first = inherited.take("a") else {
                Issue.record("nothing of that name")
                return
            }
            let number = first.raw
            #expect(number == base)
            if inherited.take("c") != nil { Issue.record("there is none of that name") }
            #expect(inherited.names == ["b", "a"])
            _ = consume others
            _ = consume inherited
            #expect(fcntl(base, F_GETFD) == FD_CLOEXEC)
            #expect(fcntl(base + 1, F_GETFD) == -1 && fcntl(base + 2, F_GETFD) == -1)
            _ = consume first
        }
        #expect(fcntl(base, F_GETFD) == -1)
    }
}
