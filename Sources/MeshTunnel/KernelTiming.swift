// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux

/// Times both engines at the same work: bytes from one plain connection through a tunnel to another, all by one thread.
struct KernelTiming: ~Copyable {
    private static let total = 4 << 20
    private static let chunk = 128 << 10

    private let source: LoopbackPair
    private let tunnel: LoopbackPair
    private let sink: LoopbackPair
    private let buffer: UnsafeMutableRawPointer

    private init() throws(SystemError) {
        let source = try LoopbackPair()
        let tunnel = try LoopbackPair()
        let sink = try LoopbackPair()
        self.source = source
        self.tunnel = tunnel
        self.sink = sink
        self.buffer = .allocate(byteCount: Self.chunk, alignment: 64)
        self.buffer.initializeMemory(as: UInt8.self, repeating: 0x77, count: Self.chunk)
    }

    deinit { self.buffer.deallocate() }

    /// Nanoseconds of CPU per MiB with kernel TLS and splice.
    static func kernel(_ suite: CipherSuite) throws(SystemError) -> UInt64 {
        let timing = try KernelTiming()
        try KernelProbe.install(suite, timing.tunnel.left.raw, timing.tunnel.right.raw)
        let pipe = try Pipe(capacity: 1 << 20)
        return try timing.measure { timing throws(SystemError) in
            try timing.splice(timing.source.right.raw, pipe, timing.tunnel.left.raw, upTo: Self.chunk)
            try timing.splice(timing.tunnel.right.raw, pipe, timing.sink.left.raw, upTo: Self.chunk)
        }
    }

    /// Moves `count` bytes, a pipe's content at a time.
    private borrowing func splice(
        _ from: CInt, _ pipe: borrowing Pipe, _ to: CInt, upTo count: Int
    ) throws(SystemError) {
        var left = count
        while left > 0 {
            guard case .done(let taken) = try Linux.splice(from: from, to: pipe.writeEnd.raw, left) else {
                try KernelProbe.wait(from)
                continue
            }
            guard taken > 0 else { throw SystemError(call: "splice", errno: EPIPE) }
            left -= taken
            var inPipe = taken
            while inPipe > 0 {
                guard case .done(let given) = try Linux.splice(from: pipe.readEnd.raw, to: to, inPipe) else {
                    throw SystemError(call: "splice", errno: EAGAIN)
                }
                inPipe -= given
            }
        }
    }

    /// Nanoseconds of CPU per MiB with records sealed and opened here.
    static func user(_ suite: CipherSuite, _ aead: AEADProvider) throws(SystemError) -> UInt64 {
        let timing = try KernelTiming()
        var pool = AEADContextPool(provider: aead, capacity: 2)
        let secret = [UInt8](repeating: 0x33, count: suite.secretLength)
        guard let keys = secret.withUnsafeBytes({ TrafficKeys(suite: suite, secret: $0) }) else {
            throw SystemError(call: "HKDF", errno: EINVAL)
        }
        var (sending, receiving) = (keys, keys)
        let records = Self.chunk / RecordLayout.content
        let space = UnsafeMutableRawPointer.allocate(byteCount: records * RecordLayout.stride, alignment: 64)
        defer { space.deallocate() }
        var vector = [iovec](repeating: iovec(), count: records)
        return try timing.measure { timing throws(SystemError) in
            for record in 0..<records {
                vector[record] = iovec(
                    iov_base: space + record * RecordLayout.stride + RecordLayout.header, iov_len: RecordLayout.content)
            }
            var filled = 0
            while filled < Self.chunk {
                let first = filled / RecordLayout.content
                let skip = filled % RecordLayout.content
                var rest = Array(vector[first...])
                rest[0].iov_base += skip
                rest[0].iov_len -= skip
                guard case .done(let count) = try Linux.read(timing.source.right.raw, vector: rest, count: rest.count)
                else {
                    try KernelProbe.wait(timing.source.right.raw)
                    continue
                }
                filled += count
            }
            try Self.each(space, records, &sending, &pool, aead.seal)
            let sealed = records * RecordLayout.stride
            guard try Linux.send(timing.tunnel.left.raw, space, sealed) == .done(sealed) else {
                throw SystemError(call: "send", errno: EAGAIN)
            }
            var received = 0
            while received < sealed {
                switch try Linux.receive(timing.tunnel.right.raw, space + received, sealed - received) {
                case .wouldBlock: try KernelProbe.wait(timing.tunnel.right.raw)
                case .done(let count): received += max(1, count)
                }
            }
            try Self.each(space, records, &receiving, &pool, aead.open)
            guard try Linux.send(timing.sink.left.raw, vector: vector, count: records) == .done(Self.chunk) else {
                throw SystemError(call: "sendmsg", errno: EAGAIN)
            }
        }
    }

    private static func each(
        _ space: UnsafeMutableRawPointer, _ records: Int, _ keys: inout TrafficKeys, _ pool: inout AEADContextPool,
        _ body:
            @convention(c) (
                UnsafeMutableRawPointer, UnsafePointer<UInt8>, UnsafePointer<UInt8>, UnsafeMutablePointer<UInt8>, Int
            ) -> Bool
    ) throws(SystemError) {
        for index in 0..<records {
            let record = (space + index * RecordLayout.stride).assumingMemoryBound(to: UInt8.self)
            let length = RecordLayout.content + RecordLayout.trailer
            (record[0], record[1], record[2]) = (RecordLayout.applicationData, 3, 3)
            (record[3], record[4]) = (UInt8(length >> 8), UInt8(length & 255))
            guard let context = pool.context(for: &keys) else { throw SystemError(call: "malloc", errno: ENOMEM) }
            var nonce = keys.nonce(keys.sequence)
            keys.sequence += 1
            let isDone = withUnsafeBytes(of: &nonce) {
                body(
                    context, $0.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: UInt8.self), record,
                    record + RecordLayout.header, RecordLayout.content + 1)
            }
            if !isDone { throw SystemError(call: "AEAD", errno: EBADMSG) }
        }
    }

    /// The CPU time of the best of some rounds: the first ones warm up, others are disturbed.
    private borrowing func measure(
        _ relay: (borrowing KernelTiming) throws(SystemError) -> Void
    ) throws(SystemError) -> UInt64 {
        var best = UInt64.max
        let chunks = Self.total / 4 / Self.chunk
        for _ in 0..<4 {
            let start = Clock.threadCPU
            for _ in 0..<chunks {
                guard try Linux.send(self.source.left.raw, self.buffer, Self.chunk) == .done(Self.chunk) else {
                    throw SystemError(call: "send", errno: EAGAIN)
                }
                try relay(self)
                var received = 0
                while received < Self.chunk {
                    switch try Linux.receive(self.sink.right.raw, self.buffer, Self.chunk - received) {
                    case .wouldBlock: try KernelProbe.wait(self.sink.right.raw)
                    case .done(let count): received += max(1, count)
                    }
                }
            }
            best = min(best, Clock.threadCPU - start)
        }
        return best / UInt64((Self.total / 4) >> 20)
    }
}
