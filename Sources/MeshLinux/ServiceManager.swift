// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// The service manager that started this process, as far as it listens (`sd_notify(3)`). May be called from any thread.
package struct ServiceManager: Sendable {
    /// One assignment of a message.
    package enum Notice: Sendable, Hashable {
        case ready
        /// Must be followed by ``ready``.
        case reloading
        case stopping
        case watchdog
        /// What the service does, for people.
        case status(String)
        /// How long start or stop may still take from now on, in microseconds.
        case extendTimeout(UInt64)
        /// Another process is the service from now on.
        case mainProcess(Int32)
    }

    private let address: UnixAddress

    /// - Parameter environment: nil where it names no service manager, or one that cannot be reached by a Unix socket.
    package init?(environment: [String: String]) {
        guard let text = environment["NOTIFY_SOCKET"], let address = UnixAddress(text) else { return nil }
        self.address = address
    }

    /// Sends notices in one message.
    package func notify(_ notices: [Notice]) throws(SystemError) {
        try self.send(notices.map(\.lines).joined(separator: "\n"))
    }

    // MARK: Descriptors

    /// Has descriptors kept until they are removed, across restarts and crashes of this process. The manager says
    /// nothing when it does not: ``keepsDescriptors(count:)`` finds out.
    ///
    /// - Parameters:
    ///   - descriptors: stay the caller's, at most ``DescriptorMessage/capacity``.
    ///   - name: by which they are known: up to 255 printable ASCII characters other than a colon.
    package func store(_ descriptors: [CInt], as name: String) throws(SystemError) {
        // Not watched: that a peer hangs up is the business of whoever takes the descriptor.
        try self.send("FDSTORE=1\nFDPOLL=0\nFDNAME=\(name)", descriptors)
    }

    package func removeStored(_ name: String) throws(SystemError) {
        try self.send("FDSTOREREMOVE=1\nFDNAME=\(name)")
    }

    /// Waits until the manager has read everything sent before.
    ///
    /// - Throws: ETIMEDOUT when it has not within that many milliseconds.
    package func synchronise(milliseconds: Int) throws(SystemError) {
        let pipe = try Pipe(capacity: 4096).release()
        let reader = FileDescriptor(owning: pipe.read)
        do {
            let writer = FileDescriptor(owning: pipe.write)
            try self.send("BARRIER=1", [writer.raw])
        }
        guard try DescriptorMessage.wait(reader.raw, milliseconds: milliseconds) else {
            throw SystemError(call: "the service manager's barrier", errno: ETIMEDOUT)
        }
    }

    /// Whether the manager keeps that many descriptors in addition to those it has, found out by trying: a pipe whose
    /// reader only the manager still has is not broken.
    package func keepsDescriptors(count: Int, milliseconds: Int = 5000) -> Bool {
        let name = "nodemesh-probe"
        var writers: [CInt] = []
        defer {
            for writer in writers { _ = Glibc.close(writer) }
            try? self.removeStored(name)
        }
        do throws(SystemError) {
            for _ in 0..<count {
                let pipe = try Pipe(capacity: 4096).release()
                let reader = FileDescriptor(owning: pipe.read)
                writers.append(pipe.write)
                try self.store([reader.raw], as: name)
            }
            try self.synchronise(milliseconds: milliseconds)
            for writer in writers {
                var entry = pollfd(fd: writer, events: 0, revents: 0)
                _ = try systemCall("poll") { poll(&entry, 1, 0) }
                if entry.revents & Int16(POLLERR) != 0 { return false }
            }
            return true
        } catch {
            return false
        }
    }

    private func send(_ text: String, _ descriptors: [CInt] = []) throws(SystemError) {
        let socket = FileDescriptor(owning: try systemCall("socket") { nm_unix_datagram() })
        try self.address.connect(socket.raw)
        // Waits while the manager has much to read, as sd_notify(3) does.
        try DescriptorMessage.send(Array(text.utf8), descriptors, to: socket.raw, isBlocking: true)
    }

    // MARK: Environment

    /// How often the manager wants to hear from this process; nil: it does not care.
    package static func watchdogInterval(environment: [String: String], pid: Int32 = getpid()) -> Duration? {
        guard let text = environment["WATCHDOG_USEC"], let microseconds = Int64(text), microseconds > 0 else {
            return nil
        }
        if let owner = environment["WATCHDOG_PID"], Int32(owner) != pid { return nil }
        return .microseconds(microseconds)
    }
}

extension ServiceManager.Notice {
    fileprivate var lines: String {
        switch self {
        case .ready: "READY=1"
        case .reloading: "RELOADING=1\nMONOTONIC_USEC=\(Clock.monotonic / 1000)"
        case .stopping: "STOPPING=1"
        case .watchdog: "WATCHDOG=1"
        // One line: a new one would begin another assignment.
        case .status(let text): "STATUS=\(text.replacing("\n", with: " "))"
        case .mainProcess(let pid): "MAINPID=\(pid)"
        case .extendTimeout(let microseconds): "EXTEND_TIMEOUT_USEC=\(microseconds)"
        }
    }
}
