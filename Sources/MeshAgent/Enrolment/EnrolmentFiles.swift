// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import MeshLinux
import MeshModel
import MeshResources

/// What the files of the workloads directory declare. One that is wrong is left out and told of; the others count.
package struct EnrolmentFiles: Sendable {
    package struct Declared<Value: Sendable>: Sendable {
        package var value: Value
        /// `path:line`.
        package var place: String
    }

    package internal(set) var workloads: [Declared<EnrolRequest>] = []
    package internal(set) var templates: [Declared<EnrolTemplate>] = []
    /// Each begins with `path:line: `.
    package internal(set) var problems: [String] = []

    /// Files of the directory that are read, and declarations in all of them; what is over is told of and left out.
    private static let maximumFiles = 1000
    private static let maximumDeclared = 10_000
    /// Problems that are listed; the rest are counted.
    private static let maximumProblems = 200

    package init() {}

    /// Reads every `*.yaml`, `*.yml` and `*.json` of a directory, in the order of their names; one that is not there
    /// declares nothing.
    package static func read(directory: String, locator: CgroupLocator?, mount: String) -> EnrolmentFiles {
        var files = EnrolmentFiles()
        let names: [String]
        do throws(SystemError) {
            names = try FileTree.names(in: directory) ?? []
        } catch {
            files.problems.append("\(directory): cannot be read: \(error)")
            return files
        }
        let all = names.filter { name in
            [".yaml", ".yml", ".json"].contains(where: name.hasSuffix) && !name.hasPrefix(".")
        }
        if all.count > Self.maximumFiles {
            files.problems.append("\(directory): has \(all.count) files; the first \(Self.maximumFiles) are read")
        }
        for name in all.prefix(Self.maximumFiles) {
            let path = "\(directory)/\(name)"
            do throws(SystemError) {
                files.read(text: try FileTree.text(of: path), path: path, locator: locator, mount: mount)
            } catch {
                files.problems.append("\(path): cannot be read: \(error)")
            }
        }
        if files.problems.count > Self.maximumProblems {
            let more = files.problems.count - Self.maximumProblems
            files.problems = files.problems.prefix(Self.maximumProblems) + ["\(directory): \(more) more problems"]
        }
        return files
    }

    mutating func read(text: String, path: String, locator: CgroupLocator?, mount: String) {
        switch ResourceDecoder.decodeLocated(text: text, usage: .enrolment) {
        case .failure(let faults):
            for problem in faults.problems {
                let place = problem.line.map { "\(path):\($0)" } ?? path
                let field = problem.path.isEmpty ? "" : "\(problem.path): "
                self.problems.append("\(place): \(field)\(problem.reason)")
            }
        case .success(let resources):
            for located in resources {
                guard case .workload(let resource) = located.resource else { continue }
                let place = "\(path):\(located.line)"
                do throws(EnrolmentError) {
                    try self.add(resource, place: place, locator: locator, mount: mount)
                } catch {
                    self.problems.append("\(place): \(error)")
                }
            }
        }
    }

    private mutating func add(
        _ resource: WorkloadResource, place: String, locator: CgroupLocator?, mount: String
    ) throws(EnrolmentError) {
        guard let enrolment = resource.spec.enrolment else { return }
        guard self.workloads.count + self.templates.count < Self.maximumDeclared else {
            throw EnrolmentError(
                .conflict, "files declare more than \(Self.maximumDeclared) workloads; this is left out")
        }
        let cgroup = try Self.cgroup(of: enrolment, locator: locator, mount: mount)
        var request = EnrolRequest(
            namespace: resource.id.namespace, name: resource.id.name, serviceAccount: resource.serviceAccount,
            labels: resource.metadata.labels, cgroup: cgroup, unit: enrolment.unit,
            networkNamespace: enrolment.networkNamespace,
            addresses: resource.spec.addresses.isEmpty ? nil : resource.spec.addresses,
            weight: resource.spec.weight.map(Int.init), whenGone: enrolment.whenGone,
            excludedOutboundPorts: enrolment.excludePorts.isEmpty ? nil : enrolment.excludePorts,
            excludedInboundPorts: enrolment.excludeInboundPorts.isEmpty ? nil : enrolment.excludeInboundPorts,
            excludedPrefixes: enrolment.excludePrefixes.isEmpty ? nil : enrolment.excludePrefixes,
            failMode: enrolment.failMode, answersOriginalDestination: enrolment.originalDestination,
            accelerate: enrolment.accelerate, dns: enrolment.dns)
        guard let template = enrolment.template else {
            _ = try RequestCheck.check(request)
            if let first = self.workloads.first(where: {
                $0.value.namespace == request.namespace && $0.value.name == request.name
            }) {
                throw EnrolmentError(
                    .conflict, "workload \(request.namespace)/\(request.name) is declared at \(first.place) already")
            }
            return self.workloads.append(Declared(value: request, place: place))
        }
        let captures = ChildTemplate.captures(of: template.pattern)
        request.name = template.name ?? "$name"
        request.namespace =
            template.namespace ?? (captures.contains("namespace") ? "$namespace" : resource.id.namespace)
        request.serviceAccount =
            template.serviceAccount ?? (captures.contains("serviceAccount") ? "$serviceAccount" : "default")
        request.labels.merge(template.labels) { _, own in own }
        let made = EnrolTemplate(
            name: resource.id.name, workload: request, namePattern: template.pattern,
            isGuarded: template.isGuarded ?? true)
        _ = try ChildTemplate(made)
        if let first = self.templates.first(where: { $0.value.name == made.name }) {
            throw EnrolmentError(.conflict, "template \(made.name) is declared at \(first.place) already")
        }
        self.templates.append(Declared(value: made, place: place))
    }

    private static func cgroup(
        of enrolment: WorkloadResource.Spec.Enrolment, locator: CgroupLocator?, mount: String
    ) throws(EnrolmentError) -> String {
        if let path = enrolment.cgroup { return path.hasPrefix(mount + "/") ? path : mount + path }
        guard let unit = enrolment.unit, let locator else {
            throw EnrolmentError(.invalid, "spec.unit: no cgroup v2 is mounted")
        }
        do throws(CgroupLocator.Failure) {
            return try locator.unit(unit).path
        } catch {
            throw EnrolmentError(.invalid, "spec.unit: \(error)")
        }
    }
}
