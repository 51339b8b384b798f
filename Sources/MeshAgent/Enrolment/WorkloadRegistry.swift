// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshAdminAPI
import MeshLinux
import MeshModel

/// The workloads of this node: enrols, remembers and lets go of them.
package actor WorkloadRegistry {
    /// One enrolled workload.
    package struct Entry: Sendable {
        package let request: EnrolRequest
        package let origin: EnrolmentOrigin
        package let key: UInt32
        package let workload: InspectedWorkload
        package var options: SteeringOptions
        package var id: WorkloadID { WorkloadID(namespace: self.request.namespace, name: self.request.name) }

        package func identity(in trustDomain: String) -> SPIFFEID? { self.request.identity(in: trustDomain) }
    }

    /// An enrolment that is declared and cannot be made now.
    package struct Waiting: Sendable, Equatable {
        package let request: EnrolRequest
        package let origin: EnrolmentOrigin
        package var reason: String
        /// Its cgroup is not there, so nothing can leave it. Otherwise it must stay closed.
        package var isAbsent: Bool
        /// The cgroup is there, and waits for its first process.
        package var isEmpty = false
        /// The cgroup, which is there and empty, is guarded until its first process is.
        package var isGuarded = false
        package var id: WorkloadID { WorkloadID(namespace: self.request.namespace, name: self.request.name) }
    }

    /// A node runs at most this many workloads: the kernel maps have room for as many.
    private let limit: Int

    let store: EnrolmentStore
    let inspector: any WorkloadInspector
    let plane: any WorkloadPlane
    private let onChange: @Sendable ([Entry]) async -> Void
    let logger: Logger
    var entries: [WorkloadID: Entry] = [:]
    /// Being attached or detached right now: a second request for the name waits for nobody and is refused.
    var busy: Set<WorkloadID> = []
    /// Being attached anew, see ``reattach(_:)``: not detached before that is over, or the programs would stay.
    var reattached: WorkloadID?
    /// What is declared and not here. The programs that the last run gave to one of them must stay: they refuse, and
    /// without them the workload would speak in clear text.
    var waiting: [WorkloadID: Waiting] = [:]
    var templates: [String: TemplateState] = [:]
    /// What is wrong with enrolment files, with file and line.
    package internal(set) var fileProblems: [String] = []
    private var nextKey: UInt32 = 1
    /// Keys of cgroups that the last run has left and that are not enrolled again yet: a connection that waits to be
    /// accepted says by key whose it is.
    private var formerKeys: [UInt64: UInt32] = [:]
    /// Until then the files on disk know workloads that are not here yet.
    package private(set) var isRestored = false
    private let names: WorkloadNames?
    /// Told which directories and files to look at, and asked again after each change.
    let watcher: DirectoryWatcher?
    private let settle: Duration?
    private var isAnnouncing = false
    private var isChanged = false

    /// Whether kernel state that belongs to no enrolled workload belongs to nobody.
    package var knowsAll: Bool {
        self.isRestored && self.fileProblems.isEmpty && self.waiting.values.allSatisfy(\.isAbsent)
    }

    /// - Parameters:
    ///   - settle: how long changes are gathered before they are told; nil: whoever makes one waits until it is told.
    ///   - onChange: is called with all enrolled workloads after changes, never twice at a time.
    package init(
        store: EnrolmentStore, inspector: any WorkloadInspector, plane: any WorkloadPlane, logger: Logger,
        settle: Duration? = nil, limit: Int = 1024, names: WorkloadNames? = nil, watcher: DirectoryWatcher? = nil,
        onChange: @escaping @Sendable ([Entry]) async -> Void
    ) {
        self.store = store
        self.inspector = inspector
        self.plane = plane
        self.logger = logger
        self.limit = limit
        self.settle = settle
        self.names = names
        self.watcher = watcher
        self.onChange = onChange
    }

    package var all: [Entry] { self.entries.values.sorted { $0.id < $1.id } }

    package var allWaiting: [Waiting] { self.waiting.values.sorted { $0.id < $1.id } }

    package func entry(_ id: WorkloadID) -> Entry? { self.entries[id] }

    // MARK: Operators

    /// - Returns: nil when the cgroup, which the request wants to wait for, is not there or has no process yet.
    @discardableResult
    package func enrol(_ request: EnrolRequest) async throws(EnrolmentError) -> Entry? {
        try self.checkRestored()
        let id = try RequestCheck.check(request)
        if let other = self.waiting[id], other.origin != .api {
            throw EnrolmentError(.conflict, "workload \(id) is declared by \(other.origin); change it there")
        }
        let entry: Entry
        do throws(EnrolmentError) {
            entry = try await self.add(request, origin: .api)
        } catch {
            guard request.whenGone == "wait", error.code == .absent || error.code == .empty else { throw error }
            try self.store.save(request)
            self.wait(request, origin: .api, for: error)
            await self.announce()
            return nil
        }
        if let former = self.waiting.removeValue(forKey: id) { self.unguard(former) }
        do throws(EnrolmentError) {
            try self.store.save(request)
        } catch {
            await self.remove(entry)
            throw error
        }
        self.logger.info(
            "workload enrolled",
            metadata: ["workload.id": "\(entry.id)", "workload.cgroup": "\(request.cgroup)"])
        await self.announce()
        return entry
    }

    package func unenrol(_ id: WorkloadID) async throws(EnrolmentError) {
        try self.checkRestored()
        switch self.entries[id]?.origin ?? self.waiting[id]?.origin {
        case .file(let place):
            throw EnrolmentError(
                .conflict, "workload \(id) is declared at \(place); take it out there and reload nodemeshd (SIGHUP)")
        case .template(let name):
            throw EnrolmentError(
                .conflict, "workload \(id) is a child of template \(name); unenrol the template, or stop the child")
        case .api, nil: break
        }
        if let waiting = self.waiting.removeValue(forKey: id) {
            self.unguard(waiting)
            try self.store.remove(waiting.request)
            return await self.announce()
        }
        guard let entry = self.entries[id], !self.busy.contains(id) else {
            throw EnrolmentError(
                .notFound,
                "workload \(id) is not enrolled on this node; 'nodemeshctl workload list' shows those that are")
        }
        await self.remove(entry)
        try self.store.remove(entry.request)
        self.logger.info("workload unenrolled", metadata: ["workload.id": "\(id)"])
        await self.announce()
    }

    func checkRestored() throws(EnrolmentError) {
        guard self.isRestored else {
            throw EnrolmentError(.conflict, "nodemeshd is starting and enrols the workloads of its last run; try again")
        }
    }

    // MARK: Start

    /// Enrols what was enrolled when the daemon last ran, and what files declare. What has vanished meanwhile is logged
    /// and forgotten, unless it is to be waited for; what cannot be enrolled for another reason stays closed and is
    /// tried again.
    package func restore(files: EnrolmentFiles? = nil) async throws(EnrolmentError) {
        let (requests, templates) = (try self.store.load(), try self.store.loadTemplates())
        self.formerKeys = self.plane.formerKeys()
        self.nextKey = max(self.nextKey, (self.formerKeys.values.max() ?? 0) + 1)
        for request in requests {
            if try await !self.addOrWait(request, origin: .api) {
                self.logger.warning(
                    "a workload of the last run is gone",
                    metadata: ["workload.id": "\(request.namespace)/\(request.name)"])
                do throws(EnrolmentError) {
                    try self.store.remove(request)
                } catch {
                    // A disk that cannot be written must not cost the others.
                    self.logger.error("a workload that is gone stays on disk", metadata: ["reason": "\(error)"])
                }
            }
        }
        for template in templates { self.adopt(template) }
        self.isRestored = true
        if let files { await self.declare(files) }
        await self.sweepTemplates()
        await self.announce()
    }

    /// Adds a workload, or puts it among those that wait.
    ///
    /// - Returns: whether it is known afterwards: one that is gone and not waited for is not.
    /// - Throws: when it can never be enrolled as it is.
    @discardableResult
    func addOrWait(_ request: EnrolRequest, origin: EnrolmentOrigin) async throws(EnrolmentError) -> Bool {
        let id = try RequestCheck.check(request)
        do throws(EnrolmentError) {
            _ = try await self.add(request, origin: origin)
            if let former = self.waiting.removeValue(forKey: id) { self.unguard(former) }
            return true
        } catch {
            return self.wait(request, origin: origin, for: error)
        }
    }

    /// - Returns: whether it is waited for.
    @discardableResult
    func wait(_ request: EnrolRequest, origin: EnrolmentOrigin, for error: EnrolmentError) -> Bool {
        let id = WorkloadID(namespace: request.namespace, name: request.name)
        let isAbsent = error.code == .absent
        if isAbsent, !Self.isLasting(request, origin) {
            if let former = self.waiting.removeValue(forKey: id) { self.unguard(former) }
            return false
        }
        var waiting = Waiting(request: request, origin: origin, reason: error.description, isAbsent: isAbsent)
        let former = self.waiting[id]
        waiting.isEmpty = error.code == .empty
        if waiting.isEmpty {
            // From here until its first process is enrolled nothing of it may leave in clear.
            waiting.isGuarded = former?.isGuarded == true || self.guardCgroup(request.cgroup, of: id)
        } else if let former, former.isGuarded, isAbsent {
            self.unguard(former)
        }
        let isNews = former.map { !($0.isAbsent && isAbsent) && $0.reason != waiting.reason } ?? true
        if isNews {
            self.logger.log(
                level: isAbsent || error.code == .empty ? .info : .warning,
                isAbsent ? "a workload is awaited" : "a workload cannot be enrolled yet",
                metadata: ["workload.id": "\(id)", "origin": "\(origin)", "reason": "\(error)"])
        }
        self.waiting[id] = waiting
        return true
    }

    private static func isLasting(_ request: EnrolRequest, _ origin: EnrolmentOrigin) -> Bool {
        switch origin {
        case .api: request.whenGone == "wait"
        case .file: request.whenGone != "forget"
        case .template: false
        }
    }

    private func guardCgroup(_ path: String, of id: WorkloadID) -> Bool {
        do throws(EnrolmentError) {
            try self.plane.setGuard(path)
            return true
        } catch {
            self.logger.error(
                "a cgroup could not be guarded", metadata: ["workload.id": "\(id)", "reason": "\(error)"])
            return false
        }
    }

    func unguard(_ waiting: Waiting) {
        if waiting.isGuarded { self.plane.removeGuard(waiting.request.cgroup) }
    }

    // MARK: One workload

    func add(_ request: EnrolRequest, origin: EnrolmentOrigin) async throws(EnrolmentError) -> Entry {
        let id = WorkloadID(namespace: request.namespace, name: request.name)
        if let other = self.entries[id] {
            throw EnrolmentError(
                .conflict, "workload \(id) is already enrolled, by \(other.origin); unenrol it first")
        }
        guard !self.busy.contains(id) else {
            throw EnrolmentError(.conflict, "workload \(id) is being enrolled or unenrolled right now; try again")
        }
        guard self.entries.count + self.busy.count < self.limit else {
            throw EnrolmentError(
                .conflict, "this node already runs \(self.limit) workloads, its limit; mapSizes sets it")
        }
        self.busy.insert(id)
        defer { self.busy.remove(id) }
        let workload = try self.inspector.inspect(request)
        var neighbours: [Entry] = []
        for other in self.entries.values {
            if other.workload.overlaps(workload) {
                throw EnrolmentError(
                    .conflict,
                    "cgroup \(request.cgroup) overlaps with that of workload \(other.id), \(other.request.cgroup)")
            }
            if other.workload.namespaceInode == workload.namespaceInode { neighbours.append(other) }
        }
        var options = SteeringOptions(request)
        options.isShared = workload.isHostNetwork || !neighbours.isEmpty
        options.isGuarded = self.templates.values.contains {
            $0.template.isGuarded && workload.cgroup.path.hasPrefix($0.parent + "/")
        }
        // The first of a group was alone until now; whose its connections are is decided by port from now on.
        for neighbour in neighbours where !neighbour.options.isShared {
            try await self.change(neighbour) { $0.isShared = true }
        }
        let key = self.key(of: workload.cgroup.id)
        // From the first connect on there may be events of it.
        self.names?.set(key, workload: id, serviceAccount: request.serviceAccount)
        do throws(EnrolmentError) {
            try await self.plane.attach(id, key: key, workload: workload, options: options)
        } catch {
            self.names?.remove(key)
            throw error
        }
        let entry = Entry(request: request, origin: origin, key: key, workload: workload, options: options)
        self.entries[id] = entry
        self.isChanged = true
        return entry
    }

    private func key(of cgroup: UInt64) -> UInt32 {
        if let former = self.formerKeys.removeValue(forKey: cgroup) { return former }
        defer { self.nextKey += 1 }
        return self.nextKey
    }

    func change(_ entry: Entry, _ body: (inout SteeringOptions) -> Void) async throws(EnrolmentError) {
        var entry = entry
        body(&entry.options)
        try await self.plane.attach(entry.id, key: entry.key, workload: entry.workload, options: entry.options)
        if self.entries[entry.id]?.key == entry.key { self.entries[entry.id] = entry }
    }

    func remove(_ entry: Entry) async {
        self.busy.insert(entry.id)
        // A task that is cancelled does not sleep; it must let the other one in all the same.
        while self.reattached == entry.id {
            await Task.yield()
            try? await Task.sleep(for: .milliseconds(1))
        }
        await self.plane.detach(entry.id, key: entry.key)
        self.names?.remove(entry.key)
        self.entries[entry.id] = nil
        self.busy.remove(entry.id)
        self.isChanged = true
    }

    /// Something beside the enrolments themselves has changed that is told with them.
    package func touch() async {
        self.isChanged = true
        await self.announce()
    }

    /// Tells of changes, all that there are together. With a settling time nobody waits for that, and changes that come
    /// within it are told at once.
    func announce() async {
        if !self.waiting.isEmpty { await self.watchWaiting() }
        guard !self.isAnnouncing else { return }
        self.isAnnouncing = true
        guard let settle = self.settle else { return await self.tell() }
        Task {
            try? await Task.sleep(for: settle)
            await self.tell()
        }
    }

    private func tell() async {
        self.rewatch()
        while self.isChanged {
            self.isChanged = false
            await self.onChange(self.all)
        }
        self.isAnnouncing = false
    }
}

extension EnrolRequest {
    func identity(in trustDomain: String) -> SPIFFEID? {
        SPIFFEID(
            trustDomain: trustDomain,
            subject: .workload(namespace: self.namespace, serviceAccount: self.serviceAccount))
    }
}

extension SteeringOptions {
    init(_ request: EnrolRequest) {
        self.init()
        self.failsOpen = request.failMode.map { $0 == "open" }
        self.excludedPrefixes = (request.excludedPrefixes ?? []).compactMap { IPPrefix($0) }
        self.excludedOutboundPorts = request.excludedOutboundPorts ?? []
        self.excludedInboundPorts = request.excludedInboundPorts ?? []
        self.answersOriginalDestination = request.answersOriginalDestination ?? false
        self.isAccelerated = request.accelerate == "sockmap"
        self.hasNamesAnswered = request.dns != "off"
    }
}
