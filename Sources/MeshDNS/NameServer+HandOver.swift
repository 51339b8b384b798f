// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import Synchronization

// Handing names over to another server. The kernel sends queries to the sockets as long as the TCP listeners live.
extension NameServer {
    /// Ends without closing anything: queries wait in the sockets from now on. Those that are asked elsewhere are waited
    /// for, for a quarter of a second at most; their clients ask again then, as they do when a datagram is lost.
    ///
    /// Blocks meanwhile: never call it on one of Swift's shared threads.
    package func freeze() -> CarriedNames {
        self.end { $0.freeze() }
        return self.state.withLock { state in
            var spaces = Self.spaces(of: state)
            for index in spaces.indices { spaces[index].clients += state.clients[spaces[index].inode] ?? [] }
            (state.listeners, state.inherited, state.clients) = ([:], [:], [:])
            return CarriedNames(spaces)
        }
    }

    /// The sockets at which queries arrive, for who keeps copies of them in case this process dies. Out of date with the
    /// next ``attach(_:)`` or ``detach(_:)``.
    package func carried() -> CarriedNames { CarriedNames(self.state.withLock { Self.spaces(of: $0) }) }

    private static func spaces(of state: borrowing State) -> [CarriedNames.Space] {
        state.listeners.map { CarriedNames.Space(inode: $0, sockets: $1.sockets) } + state.inherited.values
    }

    /// Takes the sockets of the server before. What waits in them is answered once their namespace is attached: a name
    /// that is asked for before the mesh is known could only be denied.
    package func adopt(_ carried: CarriedNames) {
        self.state.withLock { state in
            for space in carried.spaces { state.inherited[space.inode] = space }
        }
    }

    /// Every namespace that comes back has come: closes what is left.
    package func adoptionComplete() {
        let left = self.state.withLock { state in
            defer { state.inherited = [:] }
            return state.inherited
        }
        for (_, space) in left { space.retire() }
    }

    /// Has the thread call a closure as soon as it gets to it.
    ///
    /// - Returns: false when it was stopped; `answer` is not called then. One that has ended for another reason never
    ///   calls it.
    package func ping(_ answer: @escaping @Sendable () -> Void) -> Bool {
        if self.submit({ _ in answer() }) { return true }
        return !self.state.withLock { $0.isStopped }
    }
}
