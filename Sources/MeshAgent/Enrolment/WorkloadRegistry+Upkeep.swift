// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshAdminAPI
import MeshLinux
import MeshModel

extension WorkloadRegistry {
    /// Lets go of workloads whose cgroup or network namespace has vanished, and tries again what could not be enrolled.
    package func prune() async {
        guard self.isRestored else { return }
        let gone = self.all.compactMap { entry in
            self.inspector.absence(of: entry.workload, request: entry.request).map { (entry, $0) }
        }
        await self.retire(gone)
        await self.retryWaiting { _ in true }
        await self.sweepTemplates()
        await self.announce()
    }

    /// Something changed in these directories, or in everything: looks at the workloads that it may concern.
    package func look(at paths: Set<String>, everywhere: Bool) async {
        guard self.isRestored else { return }
        let concerns: @Sendable (String) -> Bool = { cgroup in
            everywhere || paths.contains { cgroup.hasPrefix($0 + "/") || $0.hasPrefix(cgroup + "/") }
        }
        let gone = self.all.filter { concerns($0.request.cgroup) && !self.inspector.isThere($0.workload) }
        await self.retire(gone.map { ($0, "its cgroup \($0.workload.cgroup.path) is gone") })
        await self.retryWaiting { concerns($0.request.cgroup) }
        await self.sweepTemplates { everywhere || paths.contains($0) || concerns($0) }
        await self.announce()
    }

    /// Steers workloads anew that are enrolled and have lost programs. What fails is tried again after the next look.
    package func reattach(_ keys: Set<UInt32>) async {
        for id in self.all.filter({ keys.contains($0.key) }).map(\.id) {
            // It may have gone, or be going, while the others were attached.
            guard let entry = self.entries[id], keys.contains(entry.key), !self.busy.contains(id) else { continue }
            self.reattached = id
            defer { self.reattached = nil }
            let metadata: Logger.Metadata = ["workload.id": "\(id)"]
            do throws(EnrolmentError) {
                try await self.plane.attach(id, key: entry.key, workload: entry.workload, options: entry.options)
                // Changed meanwhile, which must not be undone.
                if let now = self.entries[id], now.options != entry.options, !self.busy.contains(id) {
                    try await self.plane.attach(id, key: now.key, workload: now.workload, options: now.options)
                }
                self.logger.notice("the programs of a workload were put back", metadata: metadata)
            } catch {
                self.logger.error(
                    "the programs of a workload could not be put back",
                    metadata: metadata.merging(["reason": "\(error)"]) { $1 })
            }
        }
    }

    private func retire(_ gone: [(entry: Entry, reason: String)]) async {
        for (entry, reason) in gone where !self.busy.contains(entry.id) && self.entries[entry.id]?.key == entry.key {
            self.logger.info("workload vanished", metadata: ["workload.id": "\(entry.id)", "reason": "\(reason)"])
            await self.remove(entry)
            if self.wait(entry.request, origin: entry.origin, for: EnrolmentError(.absent, reason)) { continue }
            guard entry.origin == .api else { continue }
            do throws(EnrolmentError) {
                try self.store.remove(entry.request)
            } catch {
                self.logger.error("an enrolment could not be forgotten", metadata: ["reason": "\(error)"])
            }
        }
    }

    func retryWaiting(_ isWanted: @Sendable (Waiting) -> Bool) async {
        for waiting in self.allWaiting where isWanted(waiting) && !self.busy.contains(waiting.id) {
            do throws(EnrolmentError) {
                let entry = try await self.add(waiting.request, origin: waiting.origin)
                // It was unenrolled, or enrolled in another way, while it was being attached.
                guard let current = self.waiting[waiting.id], current.request == waiting.request else {
                    await self.remove(entry)
                    continue
                }
                self.waiting[waiting.id] = nil
                self.unguard(current)
                self.logger.info("workload enrolled again", metadata: ["workload.id": "\(entry.id)"])
            } catch {
                guard self.waiting[waiting.id]?.request == waiting.request else { continue }
                let isKept = self.wait(waiting.request, origin: waiting.origin, for: error)
                if !isKept, waiting.origin == .api { try? self.store.remove(waiting.request) }
            }
        }
    }

    // MARK: Watching

    /// Watches at once what enrolments wait for, and looks again at those for whose first process it is watched only
    /// now: it may have come in between.
    func watchWaiting() async {
        guard let watcher = self.watcher else { return }
        let before = watcher.watched
        self.rewatch()
        let fresh = self.waiting.values.filter { $0.isEmpty && !before.contains($0.request.cgroup + "/cgroup.events") }
        guard !fresh.isEmpty else { return }
        let names = Set(fresh.map(\.id))
        await self.retryWaiting { names.contains($0.id) }
    }

    /// What has to be looked at: parents, in which cgroups come and go; what is nearest to one that is not there; and
    /// whether an empty one gets its first process.
    func rewatch() {
        guard let watcher = self.watcher else { return }
        var (directories, files) = (Set<String>(), Set<String>())
        for entry in self.entries.values { directories.insert(Self.parent(of: entry.workload.cgroup.path)) }
        for waiting in self.waiting.values {
            directories.insert(Self.nearest(to: Self.parent(of: waiting.request.cgroup)))
            if !waiting.isAbsent { files.insert(waiting.request.cgroup + "/cgroup.events") }
        }
        for state in self.templates.values { directories.insert(Self.nearest(to: state.parent)) }
        let missing = watcher.watchOnly(directories: directories, files: files)
        if !missing.isEmpty {
            self.logger.debug("not watched", metadata: ["count": "\(missing.count)"])
        }
    }

    private static func parent(of path: String) -> String {
        path.lastIndex(of: "/").map { String(path[..<$0]) } ?? path
    }

    private static func nearest(to path: String) -> String {
        var path = path
        while path.count > 1, !FileTree.isDirectory(path) { path = Self.parent(of: path) }
        return path
    }
}
