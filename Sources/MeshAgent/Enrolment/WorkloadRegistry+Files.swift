// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshAdminAPI
import MeshModel

extension WorkloadRegistry {
    /// Makes what files declare so: enrols what is new, lets go of what they do not name any more, and both for what
    /// has changed.
    package func reload(_ files: EnrolmentFiles) async {
        guard self.isRestored else { return }
        await self.declare(files)
        await self.sweepTemplates()
        await self.announce()
    }

    func declare(_ files: EnrolmentFiles) async {
        var problems = files.problems
        await self.withdraw(files)
        for declared in files.templates {
            guard self.templates[declared.value.name]?.template != declared.value else { continue }
            do throws(EnrolmentError) {
                let child = try ChildTemplate(declared.value)
                if let other = self.templates[declared.value.name] {
                    throw EnrolmentError(.conflict, "template \(declared.value.name) is declared by \(other.origin)")
                }
                try self.checkParent(child)
                self.templates[declared.value.name] = TemplateState(child: child, origin: .file(declared.place))
            } catch {
                problems.append("\(declared.place): \(error)")
            }
        }
        for declared in files.workloads {
            let id = WorkloadID(namespace: declared.value.namespace, name: declared.value.name)
            if self.entries[id]?.request == declared.value || self.waiting[id]?.request == declared.value { continue }
            do throws(EnrolmentError) {
                if let other = self.entries[id]?.origin ?? self.waiting[id]?.origin {
                    throw EnrolmentError(.conflict, "workload \(id) is declared by \(other) already")
                }
                try await self.addOrWait(declared.value, origin: .file(declared.place))
            } catch {
                problems.append("\(declared.place): \(error)")
            }
        }
        self.fileProblems = problems
        for problem in problems { self.logger.error("enrolment file", metadata: ["problem": "\(problem)"]) }
    }

    /// Lets go of what came from files and is in none any more, or is there in another form.
    private func withdraw(_ files: EnrolmentFiles) async {
        // What a file that is wrong now declared before stays as it is: a slip of the pen must not open a workload.
        let broken = Set(files.problems.compactMap { $0.split(separator: ":").first.map(String.init) })
        let isStill: (EnrolmentOrigin, Bool) -> Bool = { origin, isDeclared in
            guard case .file(let place) = origin else { return true }
            return isDeclared || broken.contains(place.split(separator: ":").first.map(String.init) ?? "")
        }
        let templates = Set(files.templates.map(\.value))
        for (name, state) in self.templates where !isStill(state.origin, templates.contains(state.template)) {
            await self.drop(template: name)
        }
        let requests = Set(files.workloads.map(\.value))
        for waiting in self.allWaiting where !isStill(waiting.origin, requests.contains(waiting.request)) {
            self.waiting[waiting.id] = nil
            self.unguard(waiting)
        }
        for entry in self.all where !isStill(entry.origin, requests.contains(entry.request)) {
            guard !self.busy.contains(entry.id) else { continue }
            self.logger.info("workload is in no file any longer", metadata: ["workload.id": "\(entry.id)"])
            await self.remove(entry)
        }
    }
}
