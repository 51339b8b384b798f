// SPDX-License-Identifier: Apache-2.0

import CMeshLinux
import Glibc
import Synchronization

/// Tells when something appears in directories or vanishes from them, and when a file changes (`inotify(7)`). It works
/// on cgroups too.
///
/// What happens while nobody reads is kept by the kernel up to `fs.inotify.max_queued_events`; past that
/// ``Event/lost`` says so, and the caller has to look everywhere.
package final class DirectoryWatcher: Sendable {
    package enum Event: Hashable, Sendable {
        /// Something was made, moved or removed in this directory, or this file has changed.
        case changed(path: String)
        /// The watched path itself is gone, and no longer watched.
        case gone(path: String)
        case lost
    }

    private struct Watches {
        var paths: [Int32: String] = [:]
        var numbers: [String: Int32] = [:]
    }

    private let descriptor: FileDescriptor
    private let wake: WakeUp
    private let watches = Mutex(Watches())
    private let isStopped = Mutex(false)

    package init() throws(SystemError) {
        self.descriptor = FileDescriptor(
            owning: try systemCall("inotify_init1") { nm_inotify() })
        self.wake = try WakeUp()
    }

    /// Watches a directory for names that come and go. Watching it again is free.
    ///
    /// - Throws: ENOENT when it is not there, ENOSPC at `fs.inotify.max_user_watches`.
    package func watch(directory path: String) throws(SystemError) {
        try self.add(path, nm_inotify_directory)
    }

    /// Watches a file's content; for `cgroup.events` that is when the cgroup gets its first process or loses its last.
    package func watch(file path: String) throws(SystemError) {
        try self.add(path, nm_inotify_file)
    }

    private func add(_ path: String, _ mask: UInt32) throws(SystemError) {
        let raw = self.descriptor.raw
        try self.watches.withLock { watches throws(SystemError) in
            let number = try systemCall("inotify_add_watch") { nm_inotify_watch(raw, path, mask) }
            if let old = watches.numbers[path], old != number { watches.paths[old] = nil }
            // One directory has one number; under another path it keeps its first name.
            guard watches.paths[number] == nil else { return }
            watches.paths[number] = path
            watches.numbers[path] = number
        }
    }

    /// Watches exactly these from now on, files and directories together; what is not there is left out.
    ///
    /// - Returns: those that are not watched since they do not exist or there are too many.
    package func watchOnly(directories: Set<String>, files: Set<String>) -> Set<String> {
        let wanted = directories.union(files)
        let watched = self.watched
        for path in watched.subtracting(wanted) { self.unwatch(path) }
        return wanted.subtracting(watched).filter { path in
            do throws(SystemError) {
                try directories.contains(path) ? self.watch(directory: path) : self.watch(file: path)
                return false
            } catch {
                return true
            }
        }
    }

    package func unwatch(_ path: String) {
        let raw = self.descriptor.raw
        self.watches.withLock { watches in
            guard let number = watches.numbers.removeValue(forKey: path) else { return }
            watches.paths[number] = nil
            // EINVAL: the path is gone, and the watch with it.
            _ = nm_inotify_unwatch(raw, number)
        }
    }

    package var watched: Set<String> { self.watches.withLock { Set($0.numbers.keys) } }

    /// Waits for events on the calling thread, which should be one of its own, until ``stop()``. Equal events that are
    /// there at once are told once.
    package func run(_ handler: ([Event]) -> Void) throws(SystemError) {
        let epoll = try Epoll(capacity: 2)
        try epoll.add(self.descriptor.raw, .readable, data: 0)
        try epoll.add(self.wake.raw, .readable, data: 1)
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while !self.isStopped.withLock({ $0 }) {
            _ = try epoll.wait(milliseconds: -1)
            var seen: Set<Event> = []
            var events: [Event] = []
            while let count = try self.read(&buffer) {
                for event in self.parse(buffer[..<count]) where seen.insert(event).inserted { events.append(event) }
            }
            if !events.isEmpty { handler(events) }
        }
    }

    package func stop() {
        self.isStopped.withLock { $0 = true }
        self.wake.signal()
    }

    /// nil when nothing waits.
    private func read(_ buffer: inout [UInt8]) throws(SystemError) -> Int? {
        let raw = self.descriptor.raw
        switch try nonBlockingCall(
            "read(inotify)", { buffer.withUnsafeMutableBytes { Glibc.read(raw, $0.baseAddress, $0.count) } })
        {
        case .done(let count): return count > 0 ? count : nil
        case .wouldBlock: return nil
        }
    }

    /// `struct inotify_event`: descriptor, mask, cookie and the length of the name that follows, 32 bits each.
    private func parse(_ bytes: ArraySlice<UInt8>) -> [Event] {
        var (events, rest) = ([Event](), bytes)
        while rest.count >= 16 {
            let word = { (index: Int) -> UInt32 in
                rest.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: index * 4, as: UInt32.self) }
            }
            let (number, mask, length) = (Int32(bitPattern: word(0)), word(1), Int(word(3)))
            rest = rest.dropFirst(16 + length)
            if mask & nm_inotify_overflow != 0 {
                events.append(.lost)
                continue
            }
            self.watches.withLock { watches in
                guard let path = watches.paths[number] else { return }
                if mask & nm_inotify_gone != 0 {
                    watches.paths[number] = nil
                    if watches.numbers[path] == number { watches.numbers[path] = nil }
                    events.append(.gone(path: path))
                } else {
                    events.append(.changed(path: path))
                }
            }
        }
        return events
    }
}
