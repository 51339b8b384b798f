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
        package let key: UInt32
        package let workload: InspectedWorkload
        package var id: WorkloadID { WorkloadID(namespace: self.request.namespace, name: self.request.name) }

        package func identity(in trustDomain: String) -> SPIFFEID? {
            SPIFFEID(
                trustDomain: trustDomain,
                subject: .workload(
                    namespace: self.request.namespace, serviceAccount: self.request.serviceAccount))
        }
    }

    /// A node runs at most this many workloads; the kernel maps have room for as many.
    package static let limit = 1024

    private let store: EnrolmentStore
    private let inspector: any WorkloadInspector
    private let plane: any WorkloadPlane
    private let onChange: @Sendable ([Entry]) async -> Void
    private let logger: Logger
    private var entries: [WorkloadID: Entry] = [:]
    /// Being attached or detached right now: a second request for the name waits for nobody and is refused.
    private var busy: Set<WorkloadID> = []
    private var nextKey: UInt32 = 1
    /// Until then the file on disk knows workloads that are not here yet, so nothing may change it.
    package private(set) var isRestored = false
    /// Workloads of the last run that are there and could not be enrolled again yet. Their programs of that run must
    /// stay: they refuse, and without them the workload would speak in clear text.
    private var pending: [EnrolRequest] = []

    /// Whether kernel state that belongs to no enrolled workload belongs to nobody.
    package var knowsAll: Bool { self.isRestored && self.pending.isEmpty }

    /// - Parameter onChange: is called with all enrolled workloads after each change.
    package init(
        store: EnrolmentStore, inspector: any WorkloadInspector, plane: any WorkloadPlane, logger: Logger,
        onChange: @escaping @Sendable ([Entry]) async -> Void
    ) {
        self.store = store
        self.inspector = inspector
        self.plane = plane
        self.logger = logger
        self.onChange = onChange
    }

    package var all: [Entry] { self.entries.values.sorted { $0.id < $1.id } }

    package func entry(_ id: WorkloadID) -> Entry? { self.entries[id] }

    /// Enrols what was enrolled when the daemon last ran. What has vanished meanwhile is logged and forgotten; what
    /// cannot be enrolled for another reason stays closed and is tried again.
    package func restore() async throws(EnrolmentError) {
        for request in try self.store.load() {
            do throws(EnrolmentError) {
                _ = try await self.add(request)
            } catch {
                let isGone = error.code == .absent
                if !isGone { self.pending.append(request) }
                self.logger.warning(
                    isGone
                        ? "a workload of the last run is gone"
                        : "a workload of the last run cannot be enrolled yet; its mesh connections stay refused",
                    metadata: ["workload.id": "\(request.namespace)/\(request.name)", "reason": "\(error)"])
            }
        }
        try self.persist()
        self.isRestored = true
        await self.onChange(self.all)
    }

    private func checkRestored() throws(EnrolmentError) {
        guard self.isRestored else {
            throw EnrolmentError(.conflict, "nodemeshd is starting and enrols the workloads of its last run; try again")
        }
    }

    package func enrol(_ request: EnrolRequest) async throws(EnrolmentError) -> Entry {
        try self.checkRestored()
        let entry = try await self.add(request)
        self.pending.removeAll { $0.namespace == request.namespace && $0.name == request.name }
        do throws(EnrolmentError) {
            try self.persist()
        } catch {
            await self.remove(entry)
            throw error
        }
        self.logger.info(
            "workload enrolled",
            metadata: ["workload.id": "\(entry.id)", "workload.cgroup": "\(request.cgroup)"])
        await self.onChange(self.all)
        return entry
    }

    package func unenrol(_ id: WorkloadID) async throws(EnrolmentError) {
        try self.checkRestored()
        if let index = self.pending.firstIndex(where: { $0.namespace == id.namespace && $0.name == id.name }) {
            self.pending.remove(at: index)
            return try self.persist()
        }
        guard let entry = self.entries[id], !self.busy.contains(id) else {
            throw EnrolmentError(
                .notFound,
                "workload \(id) is not enrolled on this node; 'nodemeshctl workload list' shows those that are")
        }
        await self.remove(entry)
        try self.persist()
        self.logger.info("workload unenrolled", metadata: ["workload.id": "\(id)"])
        await self.onChange(self.all)
    }

    private func retryPending() async {
        guard self.isRestored, !self.pending.isEmpty else { return }
        let requests = self.pending
        for request in requests {
            do throws(EnrolmentError) {
                let entry = try await self.add(request)
                // It was unenrolled, or enrolled in another way, while it was being attached.
                guard self.pending.contains(request) else {
                    await self.remove(entry)
                    continue
                }
                self.logger.info("workload of the last run enrolled again", metadata: ["workload.id": "\(entry.id)"])
            } catch {
                if error.code != .absent { continue }
            }
            self.pending.removeAll { $0 == request }
        }
        guard self.pending != requests else { return }
        do throws(EnrolmentError) {
            try self.persist()
        } catch {
            self.logger.error("enrolments could not be saved", metadata: ["reason": "\(error)"])
        }
        await self.onChange(self.all)
    }

    /// Lets go of workloads whose cgroup or network namespace has vanished, and tries again what could not be enrolled.
    package func prune() async {
        await self.retryPending()
        let gone = self.all.compactMap { entry in
            self.inspector.absence(of: entry.workload, request: entry.request).map { (entry, $0) }
        }
        guard !gone.isEmpty else { return }
        for (entry, reason) in gone where !self.busy.contains(entry.id) {
            self.logger.info(
                "workload vanished", metadata: ["workload.id": "\(entry.id)", "reason": "\(reason)"])
            await self.remove(entry)
        }
        do throws(EnrolmentError) {
            try self.persist()
        } catch {
            self.logger.error("enrolments could not be saved", metadata: ["reason": "\(error)"])
        }
        await self.onChange(self.all)
    }

    private func add(_ request: EnrolRequest) async throws(EnrolmentError) -> Entry {
        let id = try Self.validate(request)
        guard self.entries[id] == nil, !self.busy.contains(id) else {
            throw EnrolmentError(.conflict, "workload \(id) is already enrolled; unenrol it first")
        }
        guard self.entries.count + self.busy.count < Self.limit else {
            throw EnrolmentError(.conflict, "this node already runs \(Self.limit) workloads, its limit")
        }
        self.busy.insert(id)
        defer { self.busy.remove(id) }
        let workload = try self.inspector.inspect(request)
        for other in self.entries.values {
            if other.workload.overlaps(workload) {
                throw EnrolmentError(
                    .conflict,
                    "cgroup \(request.cgroup) overlaps with that of workload \(other.id), \(other.request.cgroup)")
            }
            if other.workload.namespaceInode == workload.namespaceInode {
                throw EnrolmentError(
                    .conflict,
                    "workload \(other.id) already has this network namespace; several workloads in one are not supported yet"
                )
            }
        }
        let key = self.nextKey
        self.nextKey += 1
        try await self.plane.attach(id, key: key, workload: workload)
        let entry = Entry(request: request, key: key, workload: workload)
        self.entries[id] = entry
        return entry
    }

    private func remove(_ entry: Entry) async {
        self.busy.insert(entry.id)
        await self.plane.detach(entry.id, key: entry.key)
        self.entries[entry.id] = nil
        self.busy.remove(entry.id)
    }

    private func persist() throws(EnrolmentError) {
        try self.store.save(self.all.map(\.request) + self.pending)
    }

    /// Names that become parts of a SPIFFE ID, a TLS server name and file names below bpffs.
    private static func validate(_ request: EnrolRequest) throws(EnrolmentError) -> WorkloadID {
        for (field, value, limit) in [
            ("namespace", request.namespace, 63), ("name", request.name, 63),
            ("serviceAccount", request.serviceAccount, 253),
        ] {
            let isValid =
                (1...limit).contains(value.utf8.count) && value.first != "-" && value.last != "-"
                && value.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 45 }
            guard isValid else {
                throw EnrolmentError(
                    .invalid,
                    "\(field) '\(value)' must be 1 to \(limit) lower-case letters, digits and dashes, not starting or ending with a dash"
                )
            }
        }
        guard request.labels.count <= 64,
            request.labels.allSatisfy({ !$0.key.isEmpty && $0.key.utf8.count <= 317 && $0.value.utf8.count <= 63 })
        else {
            throw EnrolmentError(
                .invalid, "labels: at most 64, keys of 1 to 317 bytes, values of at most 63 bytes")
        }
        if let weight = request.weight, !(1...1_000_000).contains(weight) {
            throw EnrolmentError(.invalid, "weight: \(weight) is not from 1 to 1000000")
        }
        return WorkloadID(namespace: request.namespace, name: request.name)
    }
}
