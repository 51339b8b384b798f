// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshAdminAPI
import MeshLinux
import MeshModel

extension WorkloadRegistry {
    /// A template and what has become of its children.
    struct TemplateState {
        let child: ChildTemplate
        let origin: EnrolmentOrigin
        /// The parent's cgroup id, while it is guarded: one made anew under the same name is another.
        var guarded: UInt64?
        /// Children that cannot be enrolled, and why.
        var problems: [String: String] = [:]
        var parent: String { self.child.template.workload.cgroup }
        var template: EnrolTemplate { self.child.template }
    }

    /// Each is looked at whenever a cgroup comes or goes.
    static let maximumTemplates = 256
    /// So many are listed.
    private static let maximumProblems = 100

    package func enrol(_ template: EnrolTemplate) async throws(EnrolmentError) -> TemplateSummary {
        try self.checkRestored()
        let child = try ChildTemplate(template)
        if let other = self.templates[template.name] {
            throw EnrolmentError(
                .conflict, "template \(template.name) is there already, declared by \(other.origin); unenrol it first")
        }
        guard self.templates.count < Self.maximumTemplates else {
            throw EnrolmentError(
                .conflict, "\(self.templates.count) templates are enrolled, which is the most; unenrol one first")
        }
        try self.checkParent(child)
        guard FileTree.isDirectory(template.workload.cgroup) else {
            throw EnrolmentError(.absent, "cgroup '\(template.workload.cgroup)' is not there")
        }
        try self.store.save(self.kept + [template])
        self.templates[template.name] = TemplateState(child: child, origin: .api)
        self.logger.info(
            "template enrolled",
            metadata: ["template": "\(template.name)", "cgroup": "\(template.workload.cgroup)"])
        await self.sweepTemplates { $0 == template.workload.cgroup }
        await self.announce()
        return self.summary(of: template.name)
            ?? Self.summary(of: TemplateState(child: child, origin: .api), enrolled: 0)
    }

    package func unenrol(template name: String) async throws(EnrolmentError) {
        try self.checkRestored()
        guard let state = self.templates[name] else {
            throw EnrolmentError(
                .notFound,
                "no template is called \(name); 'nodemeshctl workload list --templates' shows those there are")
        }
        if case .file(let place) = state.origin {
            throw EnrolmentError(
                .conflict, "template \(name) is declared at \(place); take it out there and reload nodemeshd (SIGHUP)")
        }
        await self.drop(template: name)
        try self.store.save(self.kept)
        self.logger.info("template unenrolled", metadata: ["template": "\(name)"])
        await self.announce()
    }

    package var allTemplates: [TemplateSummary] { self.templates.keys.sorted().compactMap { self.summary(of: $0) } }

    /// Those that the API declared.
    private var kept: [EnrolTemplate] {
        self.templates.values.filter { $0.origin == .api }.map(\.template).sorted { $0.name < $1.name }
    }

    private func summary(of name: String) -> TemplateSummary? {
        self.templates[name].map { state in
            Self.summary(of: state, enrolled: self.entries.values.count { $0.origin == .template(name) })
        }
    }

    private static func summary(of state: TemplateState, enrolled: Int) -> TemplateSummary {
        TemplateSummary(
            template: state.template, origin: state.origin.description, enrolled: enrolled, problems: state.problems,
            isGuarding: state.guarded != nil)
    }

    /// Two templates of one parent would take each other's children.
    func checkParent(_ child: ChildTemplate) throws(EnrolmentError) {
        let parent = child.template.workload.cgroup
        guard parent.hasPrefix("/") else {
            throw EnrolmentError(.invalid, "cgroup '\(parent)' is not an absolute path")
        }
        if let mount = try? Cgroup.mountPoint(), parent == mount || !parent.hasPrefix(mount + "/") {
            throw EnrolmentError(
                .invalid, "cgroup '\(parent)' is not below \(mount), or is all of it; name the parent of the workloads")
        }
        if let other = self.templates.values.first(where: { $0.parent == parent }) {
            throw EnrolmentError(.conflict, "template \(other.template.name) has cgroup \(parent) already")
        }
    }

    /// Takes a template of the last run back.
    func adopt(_ template: EnrolTemplate) {
        do throws(EnrolmentError) {
            self.templates[template.name] = TemplateState(child: try ChildTemplate(template), origin: .api)
        } catch {
            self.logger.error(
                "a template of the last run is not enrolled",
                metadata: ["template": "\(template.name)", "reason": "\(error)"])
        }
    }

    func drop(template name: String) async {
        guard let state = self.templates.removeValue(forKey: name) else { return }
        for waiting in self.allWaiting where waiting.origin == .template(name) {
            self.waiting[waiting.id] = nil
            self.unguard(waiting)
        }
        for entry in self.all where entry.origin == .template(name) && !self.busy.contains(entry.id) {
            await self.remove(entry)
        }
        // Last: until each child is let go of, none that comes may speak.
        if state.guarded != nil { self.plane.removeGuard(state.parent) }
    }

    /// Guards the parents that are there, and enrols children that are not enrolled.
    func sweepTemplates(_ isWanted: @Sendable (String) -> Bool = { _ in true }) async {
        for name in self.templates.keys.sorted() {
            guard let state = self.templates[name], isWanted(state.parent) else { continue }
            await self.sweep(name, state)
        }
    }

    private func sweep(_ name: String, _ state: TemplateState) async {
        await self.raiseGuard(name, state)
        let known = Set(
            self.entries.values.map(\.workload.cgroup.path) + self.waiting.values.map(\.request.cgroup))
        var problems: [String: String] = [:]
        for child in Cgroup.children(of: state.parent) where !known.contains(state.parent + "/" + child) {
            do throws(EnrolmentError) {
                guard let request = try state.child.request(child: child) else { continue }
                let id = WorkloadID(namespace: request.namespace, name: request.name)
                if self.busy.contains(id) { continue }
                if let other = self.entries[id] ?? nil, other.request.cgroup != request.cgroup {
                    throw EnrolmentError(.conflict, "workload \(id) is already enrolled, by \(other.origin)")
                }
                try await self.addOrWait(request, origin: .template(name))
            } catch {
                if state.problems[child] == nil {
                    self.logger.warning(
                        "a template's child cannot be enrolled",
                        metadata: ["template": "\(name)", "child": "\(child)", "reason": "\(error)"])
                }
                if problems.count < Self.maximumProblems { problems[child] = error.description }
            }
        }
        self.templates[name]?.problems = problems
    }

    private func raiseGuard(_ name: String, _ state: TemplateState) async {
        guard state.template.isGuarded else { return }
        let parent = (try? Cgroup(path: state.parent))?.id
        guard parent != state.guarded else { return }
        if state.guarded != nil { self.plane.removeGuard(state.parent) }
        self.templates[name]?.guarded = nil
        guard let parent else { return }
        do throws(EnrolmentError) {
            // Those that are enrolled already pass it from its first moment.
            for entry in self.all where !entry.options.isGuarded {
                guard entry.workload.cgroup.path.hasPrefix(state.parent + "/") else { continue }
                try await self.change(entry) { $0.isGuarded = true }
            }
            try self.plane.setGuard(state.parent)
            self.templates[name]?.guarded = parent
        } catch {
            self.logger.error(
                "a template's cgroup could not be guarded",
                metadata: ["template": "\(name)", "reason": "\(error)"])
        }
    }
}
