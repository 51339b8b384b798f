// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import MeshTunnel

/// Descriptors that are known by their numbers in a state; those that nobody takes are closed.
struct OwnedDescriptors: ~Copyable, Sendable {
    private(set) var all: [CInt] = []

    init() {}

    /// Takes ownership.
    init(_ all: [CInt]) { self.all = all }

    deinit { for fd in self.all where fd >= 0 { Linux.close(fd) } }

    /// Takes ownership of a descriptor and returns its number; nil: there is none.
    mutating func add(_ descriptor: CInt) -> UInt32? {
        if descriptor < 0 { return nil }
        self.all.append(descriptor)
        return UInt32(self.all.count - 1)
    }

    /// Gives a descriptor away, once.
    mutating func take(_ index: UInt32) throws(StateError) -> CInt {
        guard Int(index) < self.all.count, self.all[Int(index)] >= 0 else {
            throw StateError("descriptor \(index) of \(self.all.count) is missing or used twice")
        }
        defer { self.all[Int(index)] = -1 }
        return self.all[Int(index)]
    }
}
